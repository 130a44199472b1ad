// Words for how long ago something was, as the server writes them (halter/console/pages/formats.py).

const UNITS = /** @type {[number, string][]} */ ([[86400000, "d"], [3600000, "h"], [60000, "min"], [1000, "s"]]);

/**
 * "12 s ago", "3 h 5 min ago", "in 4 min"; "now" within a second.
 * @param {number} ms
 * @param {number} now
 */
export function ago(ms, now) {
  const apart = Math.abs(now - ms);
  if (apart < 1000) return "now";
  const words = span(apart);
  return ms <= now ? `${words} ago` : `in ${words}`;
}

/** @param {number} ms */
function span(ms) {
  for (const [index, [size, unit]] of UNITS.entries()) {
    if (ms < size) continue;
    const whole = Math.floor(ms / size);
    const below = UNITS[index + 1];
    const rest = below ? Math.floor((ms % size) / below[0]) : 0;
    return rest && unit !== "min" ? `${whole} ${unit} ${rest} ${below[1]}` : `${whole} ${unit}`;
  }
  return "0 s";
}
