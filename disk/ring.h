// io_uring, by liburing.
#pragma once

#include <memory>
#include <string>

#include "disk/transfer.h"

namespace zo2::disk {

// One ring, which serves one transfer at a time.
class Ring {
 public:
  virtual ~Ring() = default;
  // Returns when all of it is done. Throws Failure(IO).
  virtual void run(const Transfer& transfer) = 0;
  // Whether it can serve another.
  virtual bool usable() const = 0;
};

// Null, with the reason, where the kernel gives none.
std::unique_ptr<Ring> make_ring(std::string* why);

}  // namespace zo2::disk
