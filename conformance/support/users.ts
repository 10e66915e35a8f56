import path from 'node:path';
import { root } from '../../scripts/tools.mjs';
import type { Login } from './api-token.js';
import { run } from './command.js';
import type { Site } from './suite.js';

/** Makes a user without any right of their own, with the command for it, while Weir runs. */
export async function addUser({ workspace }: Site, username: string): Promise<Login> {
  const password = `the password of ${username}`;
  const program = path.join(root, 'bin', 'weir.cjs');
  await run(process.execPath, [program, 'user', 'add', username, '--password-stdin'], {
    environment: { ...workspace.environment, WEIR_DATA_DIR: workspace.path('weir-data') },
    workingDirectory: workspace.directory,
    input: `${password}\n`,
  });
  return { username, password };
}
