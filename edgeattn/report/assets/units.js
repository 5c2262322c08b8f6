// Figures as people read them: as edgeattn/report/units.py writes them.

const SCALES = [[1e12, "T"], [1e9, "G"], [1e6, "M"], [1e3, "k"]];

const three = (number) => {
  const short = Number(number.toPrecision(3));
  return Math.abs(short) >= 1000 ? short.toLocaleString("en") : String(short);
};

function count(number) {
  if (number === null) return "?";
  const found = SCALES.find(([scale, letter]) => Math.abs(number) >= scale * (letter === "k" ? 10 : 1));
  return found ? `${three(number / found[0])} ${found[1]}` : three(number);
}

function size(bytes) {
  if (bytes === null) return "?";
  const found = SCALES.find(([scale]) => bytes >= scale);
  return found ? `${three(bytes / found[0])} ${found[1]}B` : `${Math.round(bytes)} B`;
}

function time(us) {
  if (Math.abs(us) < 0.005) return "0 µs";
  if (Math.abs(us) >= 1e6) return `${Math.round(us / 1e3).toLocaleString("en")} ms`;
  return Math.abs(us) >= 1e3 ? `${three(us / 1e3)} ms` : `${three(us)} µs`;
}

function percent(part) {
  if (!part) return "0";
  return part > 0 && part < 0.0005 ? "< 0.1 %" : `${(100 * part).toFixed(1)} %`;
}

const MEASURES = {
  macs: { title: "MACs", says: "what FLOP counters see", write: count },
  time_us: { title: "time", says: "what it takes", write: time },
  traffic_bytes: { title: "bytes moved", says: "what explains it", write: size },
};
