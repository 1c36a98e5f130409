#include "emulator/race_place.h"

#include <dlfcn.h>
#include <link.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <map>
#include <unordered_map>
#include <utility>
#include <vector>

namespace zo2::emu::race {
namespace {

// Numbers from here on are indices of State::wheres.
constexpr Place kNamed = 1u << 31;

struct Image {
  uintptr_t begin = 0;
  uintptr_t end = 0;
  uintptr_t base = 0;  // what the addresses of its symbols are relative to
  std::string path;
};

// The program or library that this code is part of.
Image find_image() {
  Image image;
  const uintptr_t inside = reinterpret_cast<uintptr_t>(&find_image);
  std::pair<Image*, uintptr_t> search{&image, inside};
  dl_iterate_phdr(
      [](dl_phdr_info* info, size_t, void* data) {
        auto& [found, address] = *static_cast<std::pair<Image*, uintptr_t>*>(data);
        uintptr_t begin = ~uintptr_t{0};
        uintptr_t end = 0;
        for (int i = 0; i < info->dlpi_phnum; i++) {
          const ElfW(Phdr) & segment = info->dlpi_phdr[i];
          if (segment.p_type == PT_LOAD) {
            begin = std::min<uintptr_t>(begin, info->dlpi_addr + segment.p_vaddr);
            end = std::max<uintptr_t>(end, info->dlpi_addr + segment.p_vaddr + segment.p_memsz);
          }
        }
        if (address < begin || address >= end) {
          return 0;
        }
        *found = {begin, end, info->dlpi_addr, info->dlpi_name};
        return 1;
      },
      &search);
  if (image.path.empty()) {
    char path[4096];
    const ssize_t length = readlink("/proc/self/exe", path, sizeof path);
    image.path.assign(path, length > 0 ? length : 0);
  }
  return image;
}

struct State {
  const Image image = find_image();
  std::vector<Where> wheres;
  std::unordered_map<uint64_t, Place> numbers;                         // of wheres
  std::map<Place, std::vector<std::pair<std::string, int>>> resolved;  // innermost first
};

State& state() {
  static State& only = *new State;
  return only;
}

// From the last folder that is ours on: paths differ between build folders, reports should not.
std::string shorten(const std::string& file) {
  size_t best = std::string::npos;
  for (const char* const folder : {"/cuda/", "/test/"}) {
    const size_t at = file.rfind(folder);
    if (at != std::string::npos && (best == std::string::npos || at < best)) {
      best = at;
    }
  }
  return best == std::string::npos ? file : file.substr(best + 1);
}

std::string quoted(const std::string& text) {
  std::string result = "'";
  for (const char c : text) {
    result += c == '\'' ? std::string("'\\''") : std::string(1, c);
  }
  return result + "'";
}

// The place and the calls it was inlined into.
const std::vector<std::pair<std::string, int>>& frames(Place place) {
  auto [entry, fresh] = state().resolved.try_emplace(place);
  std::vector<std::pair<std::string, int>>& result = entry->second;
  if (!fresh) {
    return result;
  }
  if (place & kNamed) {
    const Where& where = state().wheres[place & ~kNamed];
    result.emplace_back(shorten(where.file ? where.file : "?"), where.line);
    return result;
  }
  const Image& image = state().image;
  char address[32];
  // The call itself, not what follows it.
  std::snprintf(address, sizeof address, "0x%zx", static_cast<size_t>(image.begin - image.base + place - 1));
  const std::string command = "addr2line -i -e " + quoted(image.path) + " " + address + " 2>/dev/null";
  if (FILE* const pipe = popen(command.c_str(), "r")) {
    char line[4096];
    while (std::fgets(line, sizeof line, pipe) != nullptr) {
      const std::string text(line);
      const size_t colon = text.rfind(':');
      const int number = colon == std::string::npos ? 0 : std::atoi(text.c_str() + colon + 1);
      // What the standard library calls on the way says nothing.
      if (number > 0 && text.compare(0, 5, "/usr/") != 0) {
        result.emplace_back(shorten(text.substr(0, colon)), number);
      }
    }
    pclose(pipe);
  }
  if (result.empty()) {
    result.emplace_back(image.path + "+" + address, 0);
  }
  return result;
}

}  // namespace

Place place_of(const void* return_address) {
  return static_cast<Place>(reinterpret_cast<uintptr_t>(return_address) - state().image.begin) & ~kNamed;
}

Place place_of(Where where) {
  State& all = state();
  const uint64_t key = reinterpret_cast<uintptr_t>(where.file) << 16 ^ static_cast<uint32_t>(where.line);
  const auto found = all.numbers.find(key);
  if (found != all.numbers.end()) {
    return found->second;
  }
  all.wheres.push_back(where);
  return all.numbers[key] = kNamed | static_cast<Place>(all.wheres.size() - 1);
}

Where resolve(Place place) {
  // Entries of the map stay where they are.
  const auto& innermost = frames(place).front();
  return {innermost.first.c_str(), innermost.second};
}

std::string describe_place(Place place) {
  std::string text;
  for (const auto& [file, line] : frames(place)) {
    text += text.empty() ? "" : " in ";
    text += file + ":" + std::to_string(line);
  }
  return text;
}

bool in_image(uintptr_t address) { return address >= state().image.begin && address < state().image.end; }

}  // namespace zo2::emu::race
