// SPDX-License-Identifier: Apache-2.0
import { PassThrough } from 'node:stream';
import t from 'tap';
import { leaveRoom, ROOM_BYTES, room } from './room.ts';

t.test('a room is used again, but not while something waits in it', async (t) => {
  const taking = new PassThrough({ highWaterMark: ROOM_BYTES }).resume();
  const first = room();
  t.equal(first.length, ROOM_BYTES);
  leaveRoom(taking);
  t.equal(room(), first);

  const full = new PassThrough({ highWaterMark: 1 });
  full.write('waits in the way');
  full.write(first);
  leaveRoom(full);
  const second = room();
  t.not(second, first);
  t.equal(second.length, ROOM_BYTES);

  const drained = new Promise((resolve) => full.once('drain', resolve));
  full.resume();
  await drained;
  full.cork();
  full.write(second);
  leaveRoom(full);
  t.equal(room(), first, 'one that is free again');
});
