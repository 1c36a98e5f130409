#include "cpu/ops/copy_rows.h"

namespace zo2::cpu {

namespace {
enum { kOut, kX, kIndex };
}  // namespace

void run_scatter_rows(const OpRun& run) {
  const View &out = run.views[kOut], &x = run.views[kX], &index = run.views[kIndex];
  if (x.empty()) return;
  check_index(run, index, out.rows, FaultKind::kScatterRow);
  copy_rows(run, out, x, x.rows, [&](int64_t r) { return *index.integers(r); }, [](int64_t r) { return r; });
}

}  // namespace zo2::cpu
