// Set controls by pointing at the drawing: a shortcut for what the sliders do.
export function dragging(svg, locate, set) {
  const move = (event) => {
    const box = svg.getBoundingClientRect(), unit = svg.viewBox.baseVal.width / box.width;
    const changes = locate((event.clientX - box.left) * unit, (event.clientY - box.top) * unit);
    if (changes) set(changes);
    return changes;
  };
  svg.addEventListener("pointerdown", (event) => move(event) && svg.setPointerCapture(event.pointerId));
  svg.addEventListener("pointermove", (event) => svg.hasPointerCapture(event.pointerId) && move(event));
}
