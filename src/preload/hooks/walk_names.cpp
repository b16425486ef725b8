// SPDX-License-Identifier: BSD-3-Clause
#include "preload/hooks/walk_names.hpp"

#include <dirent.h>
#include <unistd.h>

#include <cerrno>
#include <climits>

#include "preload/hooks/hooks.hpp"
#include "preload/tree/paths.hpp"

namespace vmux::preload {

bool may_walk_into_ours(const char* path) {
  if (path == nullptr || *path == '\0' || Inside::is() || settings().devices.empty()) return false;
  char directory[PATH_MAX] = "";
  const int before = errno;
  if (*path != '/' && ::getcwd(directory, sizeof directory) == nullptr) *directory = '\0';
  errno = before;
  const std::string whole = tidy(*path == '/' ? std::string{path} : join_paths(directory, path));
  return whole == "/" || whole.find("/..") != std::string::npos || whole.starts_with("/sys") ||
         whole.starts_with("/dev");
}

std::optional<std::vector<std::string>> names_in(const std::string& directory) {
  DIR* const stream = ::opendir(directory.c_str());
  if (stream == nullptr) return std::nullopt;
  std::vector<std::string> names;
  while (const dirent* entry = ::readdir(stream)) {
    const std::string_view name = entry->d_name;
    if (name != "." && name != "..") names.emplace_back(name);
  }
  ::closedir(stream);
  return names;
}

}  // namespace vmux::preload
