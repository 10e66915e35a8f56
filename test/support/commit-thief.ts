import { once } from 'node:events';
import { connect, createServer, type AddressInfo, type Socket } from 'node:net';

/** Stands between a client and a PostgreSQL server, and may keep the answer to a commit to itself. */
export interface CommitThief {
  readonly url: string;
  /** The next commit reaches the server; instead of its answer comes the end of the connection. */
  stealNext(): void;
  stop(): Promise<void>;
}

/** How a client sends a commit (PostgreSQL, "Message Formats", Query). */
const commitMessage = Buffer.from('commit\0');

/** @param url of the database */
export async function startCommitThief(url: string): Promise<CommitThief> {
  const target = new URL(url);
  const sockets = new Set<Socket>();
  let isArmed = false;
  const proxy = createServer((client) => {
    const server = connect(Number(target.port), target.hostname);
    let isStealing = false;
    for (const socket of [client, server]) {
      sockets.add(socket);
      socket.on('close', () => sockets.delete(socket)).on('error', () => undefined);
    }
    client.on('data', (bytes) => {
      if (isArmed && bytes.includes(commitMessage)) [isArmed, isStealing] = [false, true];
      server.write(bytes);
    });
    server.on('data', (bytes) => {
      if (isStealing) client.destroy();
      else client.write(bytes);
    });
    client.on('close', () => server.destroy());
    server.on('close', () => client.destroy());
  }).listen(0, '127.0.0.1');
  await once(proxy, 'listening');
  const { port } = proxy.address() as AddressInfo;
  return {
    url: Object.assign(new URL(url), { port: String(port) }).href,
    stealNext: () => {
      isArmed = true;
    },
    stop: async () => {
      proxy.close();
      for (const socket of sockets) socket.destroy();
      await once(proxy, 'close');
    },
  };
}
