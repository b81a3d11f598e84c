"""Puts the recipes into an installed package, where experiments look for them; a source tree has them beside src."""

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class PackagedRecipes(BuildHookInterface):
    def initialize(self, version: str, build_data: dict) -> None:
        if version == "standard":  # an editable installation reads them where they are
            build_data["force_include"]["recipes"] = "wav2vec2/recipes"
