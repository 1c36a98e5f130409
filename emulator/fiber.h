// Switching between stacks.
#pragma once

#include <cstddef>

namespace zo2::emu {

// Saves the running context, stores its stack pointer in *save and continues the context that `to` stands for.
extern "C" void zo2_emu_switch(void** save, void* to);

// A context that calls `entry`, which never returns, on the stack that ends at `top`.
void* make_context(char* top, void (*entry)());

// Stacks of fibers: one address range each, with an inaccessible page below. Kept for the process's life and used
// again.
class Stacks {
 public:
  // Lowest usable address of stack `index`; null when the system gives no more.
  char* low(int index);
  static size_t size();
  bool contains(const void* address) const;

 private:
  bool reserve();

  char* base_ = nullptr;
  int ready_ = 0;
};

}  // namespace zo2::emu
