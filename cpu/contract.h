// The names of contract/ that the CPU backend uses throughout.
#pragma once

#include "contract/commands.h"
#include "contract/fault.h"
#include "contract/layout.h"
#include "contract/program.h"
#include "contract/raw.h"
#include "contract/span.h"
#include "contract/status.h"

namespace zo2::cpu {

using contract::fail;
using contract::Failure;
using contract::Fault;
using contract::FaultKind;
using contract::guarded;
using contract::Layout;
using contract::Op;
using contract::overlap;
using contract::Program;
using contract::raw;
using contract::View;
using contract::write_current_exception;
using contract::write_error;

// A table of a command is wrong: what the command read when it ran.
[[noreturn]] inline void fail_with(const Fault& fault) {
  fail(ZO2_STATUS_INVALID_ARGUMENT, "%s", contract::describe(fault).c_str());
}

}  // namespace zo2::cpu
