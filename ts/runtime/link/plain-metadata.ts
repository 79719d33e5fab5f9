// SPDX-License-Identifier: Apache-2.0
// Metadata as data: connections give objects that compute what is asked for, links carry plain values.
import type { RequestHead } from '../exchange.ts';
import type { RequestMetadata } from '../metadata.ts';

export type PlainMetadata = Omit<RequestMetadata, 'variables'> & {
  variables: (readonly [name: string, value: string])[];
};

export type PlainHead = Omit<RequestHead, 'metadata'> & { metadata: PlainMetadata };

export function plainMetadata(metadata: RequestMetadata): PlainMetadata {
  return {
    protocol: metadata.protocol,
    role: metadata.role,
    remoteUser: metadata.remoteUser,
    authType: metadata.authType,
    remoteAddress: metadata.remoteAddress,
    remotePort: metadata.remotePort,
    remoteHost: metadata.remoteHost,
    localAddress: metadata.localAddress,
    serverName: metadata.serverName,
    serverPort: metadata.serverPort,
    serverSoftware: metadata.serverSoftware,
    isSecure: metadata.isSecure,
    tls: metadata.tls && {
      protocol: metadata.tls.protocol,
      cipher: metadata.tls.cipher,
      sessionId: metadata.tls.sessionId,
      keyBits: metadata.tls.keyBits,
      clientCertificate: metadata.tls.clientCertificate,
    },
    scriptName: metadata.scriptName,
    pathInfo: metadata.pathInfo,
    pathTranslated: metadata.pathTranslated,
    scriptFilename: metadata.scriptFilename,
    documentRoot: metadata.documentRoot,
    route: metadata.route,
    zone: metadata.zone,
    servlet: metadata.servlet,
    variables: [...metadata.variables],
  };
}

export function plainHead(head: RequestHead): PlainHead {
  const { method, url, httpVersion, fields, bodyBytes } = head;
  return { method, url, httpVersion, fields, bodyBytes, metadata: plainMetadata(head.metadata) };
}

export function restoredHead(plain: PlainHead): RequestHead {
  const { metadata } = plain;
  return { ...plain, metadata: { ...metadata, variables: new Map(metadata.variables) } };
}
