// The kernels that work row by row, one at a time: past the contract, and on a stream that failed before.
#include "op_kernels.h"

#include "copy_cases.h"
#include "row_cases.h"

using namespace zo2::test;

int main() {
  CudaRig rig;
  const Runner run = through_kernels(rig, {}), poisoned = through_poisoned_kernels(rig, {});
  CopyCases(run).all();
  CopyCases(run).embed_of_fewer_rows();
  RowCases(run).all();
  RowCases(run).rope_of_nothing();
  CopyCases(poisoned).all();
  RowCases(poisoned).all();
  return report();
}
