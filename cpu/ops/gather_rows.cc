#include "cpu/ops/copy_rows.h"

namespace zo2::cpu {

namespace {
enum { kOut, kX, kIndex };
}  // namespace

void run_gather_rows(const OpRun& run) {
  const View &out = run.views[kOut], &x = run.views[kX], &index = run.views[kIndex];
  if (out.empty()) return;
  check_index(run, index, x.rows, FaultKind::kIndexRow);
  copy_rows(run, out, x, out.rows, [](int64_t r) { return r; }, [&](int64_t r) { return *index.integers(r); });
}

}  // namespace zo2::cpu
