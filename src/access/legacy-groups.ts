/**
 * The groups of resources that OpenShift once had in the core group. Clients still ask about them there when they do
 * not know the group: `oc policy who-can get imagestreams/layers`, and `oc login` about `projectrequests`.
 */
const groupsByResource: ReadonlyMap<string, string> = new Map(
  Object.entries({
    'image.openshift.io': [
      'images',
      'imagesignatures',
      'imagestreamimages',
      'imagestreamimports',
      'imagestreammappings',
      'imagestreams',
      'imagestreamtags',
      'imagetags',
    ],
    'oauth.openshift.io': ['oauthaccesstokens', 'oauthauthorizetokens', 'oauthclients', 'oauthclientauthorizations'],
    'project.openshift.io': ['projectrequests', 'projects'],
    'template.openshift.io': ['processedtemplates', 'templates'],
    'user.openshift.io': ['groups', 'identities', 'useridentitymappings', 'users'],
  }).flatMap(([group, resources]) => resources.map((resource) => [resource, group] as const)),
);

/**
 * The groups a resource may be meant to be in: the one that is given, and for the empty one that in which the resource
 * is today.
 *
 * @param resource may have a subresource, after a slash
 */
export function groupsMeant(group: string, resource: string): readonly string[] {
  if (group !== '') return [group];
  const [plural = ''] = resource.split('/');
  const present = groupsByResource.get(plural);
  return present === undefined ? [group] : [group, present];
}
