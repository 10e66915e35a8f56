// Loaded before the program: its wall clock is wrong by WEIR_TEST_CLOCK_SHIFT_MS. Monotonic time goes on as it does.
const shiftMs = Number(process.env.WEIR_TEST_CLOCK_SHIFT_MS ?? 0);
const RealDate = globalThis.Date;

/** What is built from parts is the same moment on every clock: only "now" is another one. */
const ShiftedDate = new Proxy(RealDate, {
  apply: () => new RealDate(now()).toString(),
  construct: (target, parts, as) => Reflect.construct(target, parts.length === 0 ? [now()] : parts, as),
  get: (target, name) => (name === 'now' ? now : Reflect.get(target, name)),
});
RealDate.prototype.constructor = ShiftedDate;
globalThis.Date = ShiftedDate;

function now() {
  return RealDate.now() + shiftMs;
}
