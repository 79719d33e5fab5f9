// SPDX-License-Identifier: Apache-2.0
// The manager's end of a link, run by native/test/link_helper.c: `link-child.ts SCENARIO` prints one
// JSON value. The process must end by itself.
import { closeSync, readFileSync, writeSync } from 'node:fs';
import { native } from '../native.ts';

type Scenario = (print: (result: unknown) => void) => void;

const linkFd = native.limits.managerLinkFd ?? -1;
const packetsMax = 20_000;

function open(
  onPacket: (text: string, descriptors: number[]) => void,
  onClose = (): void => {},
): InstanceType<typeof native.LauncherLink> {
  return new native.LauncherLink(
    linkFd,
    (packet, descriptors) => onPacket(packet.toString(), descriptors),
    onClose,
  );
}

function codeOf(call: () => void): unknown {
  try {
    call();
  } catch (error) {
    return (error as NodeJS.ErrnoException).code;
  }
  return undefined;
}

const scenarios: Record<string, Scenario> = {
  /** Every packet comes back in order; after close() nothing can be sent. */
  echo(print) {
    const texts: string[] = [];
    const link = open((text) => {
      texts.push(text);
      if (texts.length < 100) return;
      link.close();
      link.close();
      print({ texts, afterClose: codeOf(() => link.send(Buffer.from('echo'))) });
    });
    for (let i = 0; i < 100; i++) link.send(Buffer.from(`echo ${i}`));
  },

  /** The largest packet is passed whole. */
  large(print) {
    const packet = Buffer.alloc(native.limits.messageMax ?? 0, 'echo ');
    const link = new native.LauncherLink(
      linkFd,
      (received) => {
        link.close();
        print({ isSame: received.equals(packet) });
      },
      () => {},
    );
    link.send(packet);
  },

  /** Descriptors come with their packet, close-on-exec, and are ours. */
  descriptor(print) {
    const link = open((text, [readEnd = -1, writeEnd = -1, ...more]) => {
      writeSync(writeEnd, 'through the pipe');
      closeSync(writeEnd);
      const flags = readFileSync(`/proc/self/fdinfo/${readEnd}`, 'utf8');
      const isCloseOnExec = /^flags:\s*0?2\d{6}$/m.test(flags);
      print({ text, more, isCloseOnExec, read: readFileSync(readEnd, 'utf8') });
      link.close();
    });
    link.send(Buffer.from('descriptor'));
  },

  /** What the launcher sent last is delivered before its end, although it left packets unread. */
  burst(print) {
    const texts: string[] = [];
    let closes = 0;
    const link = open(
      (text) => texts.push(text),
      () => {
        closes += 1;
        const sent = codeOf(() => link.send(Buffer.from('echo')));
        setImmediate(() => print({ count: texts.length, last: texts.at(-1), closes, sent }));
      },
    );
    link.send(Buffer.from('burst'));
    link.send(Buffer.from('unread'));
  },

  /** A launcher that does not read makes send() say so. */
  deaf(print) {
    const link = open(() => {});
    link.send(Buffer.from('deaf'));
    let sent = 0;
    while (sent < packetsMax && link.send(Buffer.alloc(1000))) sent += 1;
    link.close();
    print({ isLimited: sent > 0 && sent < packetsMax });
  },

  /** An exception in a callback is an uncaughtException, and loses no packet. */
  throwing(print) {
    const texts: string[] = [];
    const caught: string[] = [];
    process.on('uncaughtException', (error) => caught.push(error.message));
    const link = open((text) => {
      texts.push(text);
      if (texts.length === 3) {
        link.close();
        setImmediate(() => print({ texts, caught }));
      }
      throw new Error(text);
    });
    for (const text of ['echo 1', 'echo 2', 'echo 3']) link.send(Buffer.from(text));
  },

  /** The end of the process in the midst of traffic. */
  exiting(print) {
    const link = open(() => {
      print({ isExiting: true });
      process.exit(0);
    });
    link.send(Buffer.from('echo'));
  },
};

scenarios[process.argv[2] ?? '']?.((result) => process.stdout.write(JSON.stringify(result)));
