// linear through the contract.
#include "linear_cases.h"

int main() {
  const zo2::test::LinearCases cases(zo2::test::through_contract);
  cases.all();
  cases.tiles();
  cases.tiles_in_fp32();
  for (const bool tf32 : {false, true}) {
    cases.dtypes(tf32);
    cases.activations(tf32);
    cases.ends(tf32);
  }
  cases.hopper();
  cases.hopper_walks();
  cases.not_a_number();
  return zo2::test::report();
}
