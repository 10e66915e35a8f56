import { apiPath, type ApiClient } from './api-client.js';
import { readPages } from './pages.js';
import { projectSchema } from './wire.js';

/** A project that somebody may see. */
export interface ListedProject {
  readonly name: string;
  /** Empty when it has none. */
  readonly displayName: string;
}

/** Every project that the caller may see, by name. */
export async function listProjects(api: ApiClient): Promise<readonly ListedProject[]> {
  const { items } = await readPages(api, apiPath('project.openshift.io', 'projects'), projectSchema, { limit: 0 });
  return items.map(({ metadata }) => ({
    name: metadata.name,
    displayName: metadata.annotations?.['openshift.io/display-name'] ?? '',
  }));
}
