// Which commands are ordered before which: vector clocks over streams, fixed when a command is enqueued, so that a
// missing event wait shows whatever the timing. The host is one more party: it orders what it enqueues after all it has
// seen finish.
#pragma once

#include <cstdint>
#include <string>

namespace zo2::emu::race {

// Number of a command, as hooks.h numbers them; 0 is before all.
using Op = uint32_t;

// The last command enqueued by now, on any stream.
Op last_op();
// Whether `earlier`, on any stream, is ordered before `later` was enabled to start. A command is ordered before itself.
bool before(Op earlier, Op later);
// Whether the host has seen `earlier` finish.
bool before_host(Op earlier);
// `op` has run, and will not be asked about as the later one any more.
void command_is_done(Op op);
// Commands, streams and events are gone; numbers begin anew.
void forget_commands();
// "kernel_name on stream 2".
std::string describe_op(Op op);

}  // namespace zo2::emu::race
