// Pairs of visible controls that overlap, and how much wider the page is than its window. An open dialog covers the page
// on purpose, so only its own controls count.
() => {
  const FLOATING = ".dock, .menu";
  const found = [];
  const walk = (root) => {
    for (const element of root.querySelectorAll("*")) {
      if (element.shadowRoot) walk(element.shadowRoot);
      if (element.matches("button, input, select, textarea, a[href], summary")) found.push(element);
    }
  };
  walk(document);
  const dialog = found.map((element) => element.closest("dialog:modal")).find((open) => open);
  const shown = found.filter(
    (element) =>
      element.checkVisibility({ visibilityProperty: true }) && (!dialog || element.closest("dialog") === dialog),
  );
  const boxes = shown.map((element) => [element, element.getBoundingClientRect()]);
  const name = (element) => (element.getAttribute("aria-label") || element.textContent || element.type).trim().slice(0, 40);
  const over = [];
  boxes.forEach(([one, a], index) => {
    // Controls scroll beneath the dock, and an open menu covers them.
    if (one.closest(FLOATING)) return;
    for (const [other, b] of boxes.slice(index + 1)) {
      if (other.closest(FLOATING) || one.contains(other) || other.contains(one)) continue;
      const wide = Math.min(a.right, b.right) - Math.max(a.left, b.left);
      const high = Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top);
      if (wide > 1 && high > 1) over.push(`${name(one)} / ${name(other)}`);
    }
  });
  const wide = document.documentElement.scrollWidth - window.innerWidth;
  return { over, wide: Math.max(0, wide) };
}
