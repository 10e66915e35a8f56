/** How `weir` ends. */
export const exitCodes = {
  ok: 0,
  /** Something went wrong that should not have. */
  failure: 1,
  /** The command line or the configuration is not valid. */
  usage: 2,
  /** `fsck` found something lost. */
  lost: 3,
  /** Shut down, but requests had to be cut off: the grace time was over, or a second signal came. */
  cutOff: 4,
} as const;
