// What the scripts of all live components share; put in front of each.

const still = matchMedia("(prefers-reduced-motion: reduce)");
const number = (value, digits = 1, sign = "") => (value > 0 ? sign : "") + value.toFixed(digits).replace("-", "\u2212");

// What mounts a component: one `Kind` for each place on the page, with `update` and, if it holds on to something, `dispose`.
const mounting = (Kind) => {
  const mounted = new WeakMap();
  return ({ data, parentElement, setTriggerValue }) => {
    if (!mounted.has(parentElement)) mounted.set(parentElement, { part: new Kind(parentElement), calls: 0 });
    const entry = mounted.get(parentElement);
    const call = ++entry.calls;
    entry.part.update(data, setTriggerValue);
    // Streamlit also runs the clean-up of a call that was overtaken by the next one: only the last one ends the part.
    return () => {
      if (call !== entry.calls) return;
      mounted.delete(parentElement);
      entry.part.dispose?.();
    };
  };
};
