// Running a program (contract/program.h) on the CPU.
#pragma once

#include "cpu/contract.h"
#include "cpu/runtime/pool.h"

namespace zo2::cpu {

// Runs the ops in order; returns when the last one has ended. `spaces` and `symbols` are those of a RunCommand. Throws
// Failure when a table of the inputs names a row that does not exist; the message names op and row. What the ops before
// wrote stays. Several runs at a time are fine where their spaces allow it.
void run_program(const Program& program, uint8_t* const spaces[ZO2_SPACES], const uint64_t symbols[ZO2_SYMBOLS],
                 ThreadPool& pool, bool vectorised);

}  // namespace zo2::cpu
