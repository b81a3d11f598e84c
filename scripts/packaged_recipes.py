"""Build hook that puts the recipes into the wheel. An editable installation reads them from the repository."""

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class PackagedRecipes(BuildHookInterface):
    def initialize(self, version: str, build_data: dict) -> None:
        if version == "standard":
            build_data["force_include"]["recipes"] = "wav2vec2/recipes"
