#include "cpu/ops/gather.h"

#include <cstring>

#include "contract/fault.h"
#include "contract/span.h"

namespace zo2::cpu {

using contract::fail_with;
using contract::FaultKind;

void run_gather(const contract::GatherCommand& command) {
  const uint64_t bytes = command.count * command.row_bytes;
  for (uint64_t i = 0; i < command.count; ++i) {
    const int64_t row = command.rows[i];
    const uint64_t place = static_cast<uint64_t>(row) - static_cast<uint64_t>(command.row_base);
    if (row < command.row_base || place >= command.present) {
      fail_with({FaultKind::kGatherRow, 0, i, {row, static_cast<int64_t>(command.present), command.row_base}});
    }
    const uint8_t* const source = command.from + place * command.row_bytes;
    if (contract::overlap(command.to, bytes, source, command.row_bytes))
      fail_with({FaultKind::kGatherOverlap, 0, i, {row}});
    std::memcpy(command.to + i * command.row_bytes, source, command.row_bytes);
  }
}

}  // namespace zo2::cpu
