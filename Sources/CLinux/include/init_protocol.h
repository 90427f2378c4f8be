/// The protocol between `fastable-node` and `fastable-init`, on one unix stream socket per container.
///
/// Every frame has the 12-byte header of the node link, big endian:
///
///     u8 version = 1 · u8 type · u8 flags = 0 · u8 channel · u32 stream · u32 payload length
///
/// A stream is one exec; the node numbers them. Payloads are binary: integers are big endian, a string is a u32 length
/// and its bytes. What breaks these rules closes the connection; nothing that is sent can end init.
///
/// Node to init
///   message HELLO    (stream 0) u32 version, with the fd of the container's cgroup v2 directory (SCM_RIGHTS)
///   open             u32 flags, u32 uid, u32 gid, u32 timeout in ms (0: none), u16 rows and u16 columns of the terminal
///                    (0 without one), string token, string directory, u32 count and the arguments, u32 count and the
///                    environment (`NAME=value`); with flag 4 also u32 count and the supplementary groups, each u32.
///                    Flags: 1 the command has an input, 2 it has a terminal, 4 it has supplementary groups.
///   data             (channel 0) u64 offset of the first byte, then the bytes of the command's input, as far as the window
///   end              (channel 0) u64: the input ends at this offset
///   window           (channel 1 or 2) u64: the node has stored all bytes before this offset
///   message KILL     u32 receipt, u32 signal; 9 ends everything in the exec's cgroup, others go to its process group, or
///                    with FASTABLE_KILL_EVERYONE added to each process in its cgroup, also when the exec is forgotten.
///                    1 also goes to the leader of a terminal's session, whose terminal is gone
///   message RELEASE  forget an exec that has ended
///   message NOTE     u32 that init keeps for the exec and tells in HELD
///   message RESIZE   u16 rows, u16 columns: the terminal's new size
///   ping             u64
///
/// Init to node
///   message WELCOME  (stream 0) u32 version, u32 errno of the cgroup directory, u32 number of HELD that follow
///   message HELD     u8 phase, u64 and u64 stored offset of stdout and stderr, u64 input that has arrived, u64 input that
///                    has been passed on, u8 1 when the command takes input, u32 note (0: none), string token
///   data             (channel 1 or 2) u64 offset of the first byte, then the bytes
///   end              (channel 1 or 2) nothing more will come on this channel
///   window           (channel 0) u64: the command has been given all input before this offset; the node may send
///                    FASTABLE_INIT_RING_BYTES beyond it
///   message EXITED   u8 1 when a signal ended it, u32 exit code or signal, u8 1 when the deadline ended it,
///                    u64 start (ns since 1970), u64 duration in ns, u64 and u64 bytes of stdout and stderr
///   message FAILED   u8 stage, u32 errno: the program did not start
///   message REFUSED  u8 reason: init holds nothing under this number
///   message RECEIPT  u32 receipt, u32 errno; after signal 9 it comes when no process is left
///   pong             u64
///
/// EXITED follows the last byte that was in the pipes when the program ended, also when a process in the background
/// holds them open; such a process's later output follows as data. Init keeps everything about an exec, and each
/// byte until it is stored, so a new connection goes on where the old one was lost: after WELCOME and HELD, init sends
/// all that is not stored, and all ends and exits, again.
#pragma once

#include <stdint.h>

#define FASTABLE_INIT_VERSION ((uint32_t)2)

#define FASTABLE_FRAME_VERSION ((uint8_t)1)
#define FASTABLE_FRAME_OPEN ((uint8_t)1)
#define FASTABLE_FRAME_MESSAGE ((uint8_t)2)
#define FASTABLE_FRAME_DATA ((uint8_t)3)
#define FASTABLE_FRAME_WINDOW ((uint8_t)4)
#define FASTABLE_FRAME_END ((uint8_t)5)
#define FASTABLE_FRAME_PING ((uint8_t)7)
#define FASTABLE_FRAME_PONG ((uint8_t)8)

#define FASTABLE_MESSAGE_HELLO ((uint8_t)1)
#define FASTABLE_MESSAGE_WELCOME ((uint8_t)2)
#define FASTABLE_MESSAGE_HELD ((uint8_t)3)
#define FASTABLE_MESSAGE_KILL ((uint8_t)4)
#define FASTABLE_MESSAGE_RECEIPT ((uint8_t)5)
#define FASTABLE_MESSAGE_RELEASE ((uint8_t)6)
#define FASTABLE_MESSAGE_EXITED ((uint8_t)7)
#define FASTABLE_MESSAGE_FAILED ((uint8_t)8)
#define FASTABLE_MESSAGE_REFUSED ((uint8_t)9)
#define FASTABLE_MESSAGE_RESIZE ((uint8_t)10)
#define FASTABLE_MESSAGE_NOTE ((uint8_t)11)

#define FASTABLE_OPEN_INPUT ((uint32_t)1)
#define FASTABLE_OPEN_TERMINAL ((uint32_t)2)
#define FASTABLE_OPEN_GROUPS ((uint32_t)4)

/// An init of an earlier release takes such a signal for none, and answers ESRCH.
#define FASTABLE_KILL_EVERYONE ((uint32_t)0x100)

#define FASTABLE_PHASE_FAILED ((uint8_t)1)
#define FASTABLE_PHASE_RUNNING ((uint8_t)2)
#define FASTABLE_PHASE_EXITED ((uint8_t)3)

#define FASTABLE_REFUSED_LIMIT ((uint8_t)1)
#define FASTABLE_REFUSED_DUPLICATE ((uint8_t)2)
#define FASTABLE_REFUSED_FLAGS ((uint8_t)3)

#define FASTABLE_STAGE_CGROUP ((uint8_t)1)
#define FASTABLE_STAGE_PIPES ((uint8_t)2)
#define FASTABLE_STAGE_CLONE ((uint8_t)3)
#define FASTABLE_STAGE_SETUP ((uint8_t)4)
#define FASTABLE_STAGE_DIRECTORY ((uint8_t)5)
#define FASTABLE_STAGE_IDENTITY ((uint8_t)6)
#define FASTABLE_STAGE_EXECUTE ((uint8_t)7)

// Sizes. A test holds them equal to `Limits` where the same bound has a name there.
#define FASTABLE_INIT_HEADER_BYTES 12
#define FASTABLE_INIT_PAYLOAD_BYTES (256 * 1024)
#define FASTABLE_INIT_RING_BYTES (256 * 1024)
#define FASTABLE_INIT_EXECS 512
/// How long a command whose time is over may take to end by itself, after SIGTERM.
#define FASTABLE_INIT_GRACE_MILLISECONDS 2000
#define FASTABLE_INIT_TOKEN_BYTES 64
#define FASTABLE_INIT_ARGUMENTS 4096
#define FASTABLE_INIT_ENVIRONMENT 1024
#define FASTABLE_INIT_GROUPS 256
/// Processes of one container.
#define FASTABLE_INIT_PROCESSES 4096
