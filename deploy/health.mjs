// node health.mjs: exit code 0 when the registry of this container is ready to answer.
import { request as plain } from 'node:http';
import { request as encrypted } from 'node:https';

const port = /:(\d+)$/.exec(process.env.WEIR_LISTEN ?? '')?.[1] ?? '5000';
const isPlain = process.env.WEIR_TLS_MODE === 'off';
// Whose certificate it is makes no difference: nobody else listens on this port of this container.
const options = { host: '127.0.0.1', port, path: '/readyz', timeout: 4000, rejectUnauthorized: false };
const request = (isPlain ? plain : encrypted)(options, (response) => {
  process.exit(response.statusCode === 200 ? 0 : 1);
});
request.on('timeout', () => process.exit(1));
request.on('error', () => process.exit(1));
request.end();
