import type { Command } from 'commander';
import { loadConfig, type Config } from '../config.js';

/** The configuration of this run, from `--config` (or `weir.yaml`, where there is one) and the environment. */
export function configOf(command: Command): Config {
  const { config } = command.optsWithGlobals<{ config?: string }>();
  return loadConfig({ path: config ?? 'weir.yaml', required: config !== undefined }, process.env);
}

/** The environment, for commands that speak to a registry instead of being one. */
export function environment(): Readonly<Record<string, string | undefined>> {
  return process.env;
}
