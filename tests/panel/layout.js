// Pairs of visible controls that overlap, and how much wider the page is than its window.
() => {
  const found = [];
  const walk = (root) => {
    for (const element of root.querySelectorAll("*")) {
      if (element.shadowRoot) walk(element.shadowRoot);
      if (element.matches("button, input, select, textarea, a[href], summary")) found.push(element);
    }
  };
  walk(document);
  const shown = found.filter((element) => element.checkVisibility({ visibilityProperty: true }));
  const boxes = shown.map((element) => [element, element.getBoundingClientRect()]);
  const name = (element) => (element.getAttribute("aria-label") || element.textContent || element.type).trim().slice(0, 40);
  const over = [];
  boxes.forEach(([one, a], index) => {
    // The sticky save bar covers controls that scroll beneath it.
    if (one.closest(".save-bar")) return;
    for (const [other, b] of boxes.slice(index + 1)) {
      if (other.closest(".save-bar") || one.contains(other) || other.contains(one)) continue;
      const wide = Math.min(a.right, b.right) - Math.max(a.left, b.left);
      const high = Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top);
      if (wide > 1 && high > 1) over.push(`${name(one)} / ${name(other)}`);
    }
  });
  const wide = document.documentElement.scrollWidth - window.innerWidth;
  return { over, wide: Math.max(0, wide) };
}
