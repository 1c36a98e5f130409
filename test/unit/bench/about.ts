/** What every result says of itself. */
export const about = {
  date: "2026-01-02T03:04:05.000Z",
  commit: "0123456789abcdef0123456789abcdef01234567",
  dirty: false,
  device: { cpu: "A CPU", cores: 2, memoryGiB: 8, kernel: "k" },
  node: "v20.0.0",
};
