#include <atomic>
#include <cstdarg>
#include <cstdio>
#include <cstring>

#include "emulator/internal.h"
#include "emulator/scheduler.h"

namespace zo2::emu {
namespace {

// Enough to see what goes wrong; a kernel that is wrong in every thread would print for minutes.
constexpr uint64_t kPrinted = 20;

std::atomic<uint64_t> reports{0};

// The last report of the process. A seqlock would be finer; a reader that meets a writer sees a mixed text, never one
// without an end.
char last_report[1024];

void note(const char* kind, Where where, const char* format, va_list arguments) {
  char text[768];
  vsnprintf(text, sizeof text, format, arguments);
  char at[160] = "";
  if (where.file != nullptr) snprintf(at, sizeof at, "%s:%d: ", where.file, where.line);
  char who[192] = "";
  if (current != nullptr && current->block != nullptr) {
    const uint3 block = current->block->index;
    const uint3 thread = current->index;
    snprintf(who, sizeof who, " (kernel %s, block %u,%u,%u, thread %u,%u,%u)", current_launch->name, block.x, block.y,
             block.z, thread.x, thread.y, thread.z);
  }
  snprintf(last_report, sizeof last_report, "EMU[%s] %s%s%s", kind, at, text, who);
  if (reports.fetch_add(1) < kPrinted) fprintf(stderr, "%s\n", last_report);
  fail_operation();
}

}  // namespace

uint64_t report_count() { return reports.load(); }

void report(const char* kind, Where where, const char* format, ...) {
  va_list arguments;
  va_start(arguments, format);
  note(kind, where, format, arguments);
  va_end(arguments);
}

void fail(const char* kind, Where where, const char* format, ...) {
  va_list arguments;
  va_start(arguments, format);
  note(kind, where, format, arguments);
  va_end(arguments);
  abandon();
}

}  // namespace zo2::emu

// The last report of the process, or an empty text.
extern "C" const char* zo2_emu_last_report(void) { return zo2::emu::last_report; }
// How many reports there were.
extern "C" uint64_t zo2_emu_reports(void) { return zo2::emu::report_count(); }
