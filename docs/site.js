// A table that is wider than the page scrolls in a box that the theme puts around it: the arrow keys reach it, too.
function reachWideTables() {
  for (const box of document.querySelectorAll(".md-typeset__scrollwrap")) {
    if (box.scrollWidth > box.clientWidth) box.tabIndex = 0;
    else box.removeAttribute("tabindex");
  }
}
addEventListener("load", reachWideTables);
addEventListener("resize", reachWideTables);
