// What packages for Node expect to find, for the bundle.
export { Buffer } from "buffer";
export const process = { env: {}, browser: true, nextTick: (next, ...values) => queueMicrotask(() => next(...values)) };
