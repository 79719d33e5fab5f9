/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The words between launcher and manager: one SOCK_SEQPACKET packet per message, fd 3 of usherd.
 *
 * A message is a verb and fields, each ended by NUL: verb\0name=value\0name=value\0…
 * Values are text without NUL; numbers are decimal; a repeated name is a list. At most
 * USHER_MESSAGE_MAX bytes. `id`s are chosen by the manager, ≥ 1, never reused by it. `tag` is text
 * the launcher keeps and gives back to a restarted manager without reading it.
 *
 * launcher → manager, at the beginning of every manager's life
 *   hello     runtime_dir= launcher_pid= uid= version= [manager_user=] [config=] [log=] mode=
 *             manager_user: whom a launcher that is root made it
 *             + descriptors: control socket, listening; table and places of the channel, for reading
 *             and writing; the configuration file, for reading, when config= is there
 *   endpoint  id= name= tag= inode= [listen=] [detached=1] [server=…]  one per kept endpoint; detached:
 *             a former launcher's socket that this one could not get back: its instance serves, no
 *             other one can be started on it
 *   instance  id= endpoint=|service=1 pid= tag= started_ns= state=starting|ready|exited
 *             [exit_code= | exit_signal= | exit_unknown=1, lived_ms= rss_kb= [cpu_us=] output=]
 *             [+ descriptor: the manager's end of a living gateway's link; none when its launcher was
 *             killed since: the gateway has read the end then]   a service that lives is ready
 *                                                                    one per kept instance; the last 1000 exited
 *   memory    key= text=                                               one per text that is remembered
 *   welcome   next_id=                                                end of the list
 *
 * manager → launcher                                   answers
 *   ready                                               (none; from now on a death is restarted at once)
 *   bind      id= name= tag= backlog= [server=…]        bound id= inode=      | failed id= step= errno= error=
 *             binds <runtime>/sockets/NAME, listens, links into <runtime>/SERVER/ for each server
 *   bind      id= name= tag= backlog= listen= [user=] [group=]
 *             a public address instead: unix:/PATH (a file of that user and group, mode 0660),
 *             tcp:PORT, tcp:ADDRESS:PORT or tcp:[IPv6]:PORT; several instances may start on it
 *   link      id= server=                               linked id=            | failed …
 *   close     id= [refusal= retry_after_s= [page=]]     closed id=            (unlinks; closes)
 *             with a refusal, requests waiting in the socket get a FastCGI answer 503, with page= as
 *             its HTML, and the refusal as a line for the server's error log; without one their
 *             connections break
 *   refuse    id= refusal= retry_after_s= [page=]       (none; answers like that, and keeps the endpoint;
 *             nothing while a program lives on it)
 *   start     id= endpoint=|service=1 tag= arg=… env=… cwd= [user=] [group=] [nice=] [limit=…] [log=]
 *             [setuid=1] [start_timeout_ms=]
 *             [gateway=cgi|ajp] [secret=PATH]
 *                                                       started id= pid= FACTS [+ descriptor] | failed id= step= errno= error=
 *                                                       [cause=] [FACTS]
 *             FACTS, as far as it came: done=NAME=NS … (when it was done, CLOCK_MONOTONIC: path, user,
 *             fork, limit, setuid, cwd, exec), uid= gid= [group=…] [limit=NAME=N …]: soft limits that
 *             the process has, those without one left out. cause: a word of JourneyCause in
 *             ts/control/messages.ts, where the errno leaves open what was wrong
 *             endpoint: its descriptor 0, on which it speaks FastCGI
 *             service: a program that listens by itself (a servlet engine). Its descriptor 0 is
 *             /dev/null, SIGPIPE ends it as usual, nobody sees whether it is ready: `ready` is never
 *             told, nor is there a start timeout. All else is as with other programs, but for `look`
 *             gateway: our own program of that name, installed beside usherd, with arg= as its
 *             arguments. Its descriptor 3 is one end of a stream socket pair, its link; the other one
 *             comes with `started`, and again with `instance`. One that a former manager has used may
 *             have half a line in it, either way: begin with a newline, and pass over what is no line.
 *             secret: this file, of root or of the launcher's user and for nobody else (secret.h), is
 *             its descriptor 4
 *             limit=NAME=N: resource limits (limits.h); log=PATH: gets the program's output as well,
 *             opened as its user; what goes wrong with that file stops nothing and is only logged
 *             setuid=1: programs that the file system makes another user of may be run; else no_new_privs
 *             a launcher that is root starts, and binds, only what a registration allows (allow.h)
 *             steps: allow, path, gateway, secret, endpoint, log, user, link, pipe, fork, limit, cwd, group,
 *             setuid, nice, exec …
 *   signal    id= signal=                               (none; to the process group)
 *   look      id= [signal=]                             looked id= idle=0|1   | failed …
 *             stops its process group; where it holds no connection and waits for the next one it
 *             gets the signal and is idle; it goes on in any case. failed for a service
 *   snapshot  id=                                       snapshot id= text=    | failed …
 *             status, descriptors, and what each thread sleeps in
 *   forget    id=                                       (none; drops an exited instance's status)
 *   remember  key= text=                                (none; kept for the next manager; empty: dropped)
 *   registrations id=                                   registrations id= [name=…]
 *             the files SERVER.GENERATION.conf in <runtime>/servers/; failed when the folder is gone
 *   registration id= name=                              registration id= + descriptor: the file, for reading | failed …
 *   attach    id= server=                               attached id= + descriptors: its cells, for reading
 *                                                       and writing, its live file | failed …
 *   remove    [registration=NAME] [server=NAME]         (none; removes a registration with its .allow, or
 *             what a server has: its folder and its cells)
 *   page      index= generation= [server=…] [text=]     (none; the error page of the class with this record,
 *             for workers of these servers (pages.h); without a text it goes)
 *   resolve   id= server= path=                         resolved id= real=    | failed …
 *             may the server's newest registration have this file started as a dynamic class? real: the
 *             path without symbolic links; steps of a failure: missing (404), path (403)
 *   identify  id= path=                                 identified id= identity= [real=]
 *             identity: what changes with the file (device, inode, time of change, size); empty: no file
 *   reopen    id=                                       reopened id= [path=] [+ descriptor] | failed …
 *             begins launcher's and manager's log anew, which somebody has moved away: the new file,
 *             for stdout and stderr; without a descriptor the log is no file of ours
 *   config    id=                                       configured id= + descriptor: usher.conf, for reading | failed …
 *             what may be started is what it says now
 *   finish    first=1                                   last-look             exclusive lock held
 *   resume                                              (none; lock given back: a server came after all)
 *   quit      remove=0|1                                (none; ends everything, exits; remove=1: the runtime directory too)
 *   upgrade                                             (none; the launcher begins its own program anew in its
 *             place, keeping instances, sockets and statuses, and starts usherd as it is installed now)
 *   alive                                               (none; at least once a second: a manager that was ready
 *             and says nothing for 15 s is killed and started again)
 *
 * launcher → manager, events
 *   ready     id= ready_ns=          not of services; seen sleeping in accept/poll/epoll on its endpoint, or it took a connection
 *   output    id= text=              lines of stdout and stderr, whole where possible
 *   exited    id= exit_code= | exit_signal= | exit_unknown=1  lived_ms= rss_kb= [cpu_us=] output=   output: the last
 *             4 kB; unknown: it was a former launcher's child; cpu_us: processor time of it and of the
 *             children it waited for, where the kernel has told
 *   dropped   bytes= [id=]           output not passed on: the manager did not read, or the program
 *                                    id wrote more than 256 kB in a second
 *   log       + descriptor           the launcher was asked by a signal to begin the log anew
 *   terminate                        asked by a signal to end everything: answer with `quit` within 20 s
 */
#ifndef USHER_LAUNCHER_PROTOCOL_H
#define USHER_LAUNCHER_PROTOCOL_H

#define USHER_MESSAGE_MAX 131072
#define USHER_MANAGER_LINK_FD 3
#define USHER_OUTPUT_KEPT 4096

#endif
