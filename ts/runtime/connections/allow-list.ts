// SPDX-License-Identifier: Apache-2.0
// Who may connect: addresses, and networks as "10.0.0.0/8".
import { BlockList, isIP } from 'node:net';

/** Says of a peer's address whether it is in the list; of Unix sockets, where there is none, always. Throws
 * an Error for an entry that is no address. */
export function allowList(entries: readonly string[]): (address: string | undefined) => boolean {
  const list = new BlockList();
  for (const entry of entries) {
    const [ip = '', bits, ...more] = entry.split('/');
    const family = isIP(ip) === 6 ? 'ipv6' : 'ipv4';
    const most = family === 'ipv6' ? 128 : 32;
    const isNetwork = bits !== undefined;
    const isFit = !isNetwork || (/^\d{1,3}$/.test(bits) && Number(bits) <= most);
    if (isIP(ip) === 0 || !isFit || more.length > 0) {
      throw new Error(`allow: "${entry}": expected an IP address, or a network as 10.0.0.0/8`);
    }
    if (isNetwork) list.addSubnet(ip, Number(bits), family);
    else list.addAddress(ip, family);
  }
  return (address) => {
    if (address === undefined || address === '') return true;
    const plain = address.replace(/^::ffff:(?=\d+\.)/i, '');
    return list.check(plain, isIP(plain) === 6 ? 'ipv6' : 'ipv4');
  };
}
