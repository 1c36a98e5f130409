// What a backend answers to device_count.
#pragma once

#include <string>

namespace zo2::contract {

struct DeviceCount {
  int count;
  std::string reason;  // why there are none; otherwise empty
};

}  // namespace zo2::contract
