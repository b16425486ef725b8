// SPDX-License-Identifier: BSD-3-Clause
// What a program finds in /sys and /dev, by each of the ways that the C library has.
#include <dirent.h>
#include <glob.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include <filesystem>
#include <fstream>
#include <set>

#include "preload/program.hpp"

namespace vmux::tests {
namespace {

const std::string kDevice = std::string{"/sys/bus/pci/devices/"} + kBdf;

std::set<std::string> list(const char* path) {
  std::set<std::string> names;
  DIR* directory = opendir(path);
  if (directory == nullptr) return names;
  while (const dirent* entry = readdir(directory))
    names.insert(entry->d_name);
  closedir(directory);
  return names;
}

std::string first_line(const std::string& path) {
  std::string line;
  std::ifstream file{path};
  std::getline(file, line);
  return line;
}

TEST(Sysfs, ListShowsOursBesideTheMachinesDevices) {
  const auto names = list("/sys/bus/pci/devices");
  EXPECT_TRUE(names.count(kBdf) == 1 && names.count("0000:40:00.1") == 1);
  FILE* pipe = popen("LD_PRELOAD= ls /sys/bus/pci/devices", "r");
  char name[64];
  while (fscanf(pipe, "%63s", name) == 1) {
    EXPECT_EQ(names.count(name), 1u) << name;
    EXPECT_EQ(first_line(std::string{"/sys/bus/pci/devices/"} + name + "/vendor").substr(0, 2), "0x") << name;
  }
  pclose(pipe);
}
TEST(Sysfs, DeviceWithoutServerIsAbsent) {
  struct stat status {};
  EXPECT_EQ(errno_of(stat("/sys/bus/pci/devices/0000:40:00.2", &status)), ENOENT);
  EXPECT_EQ(list("/sys/bus/pci/devices").count("0000:40:00.2"), 0u);
}
TEST(Sysfs, FilesTellWhatConfigSpaceTells) {
  EXPECT_EQ(first_line(kDevice + "/vendor"), "0x1234");
  EXPECT_EQ(first_line(kDevice + "/device"), "0x11e9");
  EXPECT_EQ(first_line(kDevice + "/class"), "0xff0000");
  const Fd config{open((kDevice + "/config").c_str(), O_RDONLY)};
  std::uint8_t bytes[256]{};
  ASSERT_EQ(read(config, bytes, sizeof bytes), 256);
  EXPECT_EQ(bytes[0] | bytes[1] << 8, 0x1234);
}
TEST(Sysfs, LinksNameDriverGroupAndBus) {
  char path[PATH_MAX];
  EXPECT_STREQ(realpath((kDevice + "/driver").c_str(), path), "/sys/bus/pci/drivers/vfio-pci");
  EXPECT_STREQ(realpath((kDevice + "/subsystem").c_str(), path), "/sys/bus/pci");
  EXPECT_STREQ(realpath((kDevice + "/iommu_group").c_str(), path),
               ("/sys/kernel/iommu_groups/" + group_of(kBdf)).c_str());
  EXPECT_STREQ(realpath(kDevice.c_str(), path), "/sys/devices/pci0000:40/0000:40:00.0");
  char* allocated = realpath(kDevice.c_str(), nullptr);
  EXPECT_STREQ(allocated, "/sys/devices/pci0000:40/0000:40:00.0");
  free(allocated);
}
TEST(Sysfs, ModulesAreLoaded) {
  EXPECT_EQ(access("/sys/module/vfio", F_OK), 0);
  EXPECT_EQ(access("/sys/module/vfio_pci", F_OK), 0);
  EXPECT_EQ(access("/sys/module/vfio_iommu_type1", F_OK), 0);
}
TEST(Sysfs, RelativePathsFromAnOpenDirectory) {
  const Fd directory{open("/sys/bus/pci/devices", O_RDONLY | O_DIRECTORY)};
  const Fd vendor{openat(directory, "0000:40:00.0/vendor", O_RDONLY)};
  char text[8]{};
  EXPECT_EQ(read(vendor, text, 6), 6);
  EXPECT_STREQ(text, "0x1234");
}
TEST(Sysfs, RelativePathsFromDirectoriesAboveOurs) {
  char text[8]{}, target[PATH_MAX]{};
  struct stat status {};
  for (const char* above : {"/sys/bus/pci", "/sys/bus", "/sys", "/"}) {
    const Fd directory{open(above, O_RDONLY | O_DIRECTORY)};
    const std::string relative = kDevice.substr(std::strlen(above) + (std::strlen(above) == 1 ? 0 : 1));
    const Fd vendor{openat(directory, (relative + "/vendor").c_str(), O_RDONLY)};
    EXPECT_EQ(read(vendor, text, 6), 6) << above;
    EXPECT_STREQ(text, "0x1234") << above;
    EXPECT_EQ(fstatat(directory, relative.c_str(), &status, 0), 0) << above;
    EXPECT_EQ(faccessat(directory, (relative + "/config").c_str(), R_OK, 0), 0) << above;
    EXPECT_GT(readlinkat(directory, (relative + "/driver").c_str(), target, sizeof target), 0) << above;
  }
  const Fd dev{open("/dev", O_RDONLY | O_DIRECTORY)};
  const Fd container{openat(dev, "vfio/vfio", O_RDWR)};
  EXPECT_EQ(ioctl(container, VFIO_GET_API_VERSION), VFIO_API_VERSION);
}
TEST(Sysfs, RelativePathsFromTheWorkingDirectory) {
  const std::filesystem::path before = std::filesystem::current_path();
  ASSERT_EQ(chdir("/sys/bus/pci"), 0);
  EXPECT_EQ(first_line(std::string{"devices/"} + kBdf + "/vendor"), "0x1234");
  EXPECT_EQ(list("devices").count(kBdf), 1u);
  EXPECT_EQ(list("../pci/devices").count(kBdf), 1u);
  ASSERT_EQ(chdir(before.c_str()), 0);
}
TEST(Sysfs, GlobAndScandirAndFilesystem) {
  glob_t found{};
  ASSERT_EQ(glob((kDevice + "/vfio-dev/vfio*").c_str(), 0, nullptr, &found), 0);
  EXPECT_EQ(std::string{found.gl_pathv[0]}, kDevice + "/vfio-dev/vfio" + group_of(kBdf));
  globfree(&found);
  dirent** names = nullptr;
  const int count = scandir("/sys/bus/pci/drivers/vfio-pci", &names, nullptr, alphasort);
  EXPECT_GE(count, 4);
  for (int i = 0; i < count; ++i)
    free(names[i]);
  free(names);
  EXPECT_TRUE(std::filesystem::is_directory(kDevice + "/vfio-dev"));
}
unsigned char type_of(const char* directory, const std::string& name) {
  unsigned char type = DT_UNKNOWN;
  DIR* stream = opendir(directory);
  while (const dirent* entry = readdir(stream)) {
    if (name == entry->d_name) type = entry->d_type;
  }
  closedir(stream);
  return type;
}

TEST(Directories, TellTheTypesOfWhatIsInThem) {
  const std::string group = group_of(kBdf);
  EXPECT_EQ(type_of("/dev/vfio", group), DT_CHR);
  EXPECT_EQ(type_of("/dev/vfio", "devices"), DT_DIR);
  EXPECT_EQ(type_of("/dev/vfio/devices", "vfio" + group), DT_CHR);
  EXPECT_EQ(type_of("/sys/bus/pci/devices", kBdf), DT_LNK);
  EXPECT_EQ(type_of("/sys/bus/pci/drivers", "vfio-pci"), DT_DIR);
  EXPECT_EQ(type_of("/sys/kernel/iommu_groups", group), DT_DIR);
  EXPECT_EQ(type_of(kDevice.c_str(), "vendor"), DT_REG);
  dirent** names = nullptr;
  const int count = scandir(
      "/dev/vfio", &names, [](const dirent* entry) { return entry->d_type == DT_CHR ? 1 : 0; }, alphasort);
  EXPECT_GE(count, 3);
  for (int i = 0; i < count; ++i)
    free(names[i]);
  free(names);
}
TEST(Directories, OpenedByDescriptorAreTheSame) {
  DIR* stream = fdopendir(open("/dev/vfio", O_RDONLY | O_DIRECTORY));
  std::set<std::string> devices;
  while (const dirent* entry = readdir(stream)) {
    if (entry->d_type == DT_CHR) devices.insert(entry->d_name);
  }
  closedir(stream);
  EXPECT_EQ(devices.count("vfio") + devices.count(group_of(kBdf)), 2u);
}
TEST(Directories, PatternsMayBeginAnywhere) {
  glob_t found{};
  ASSERT_EQ(glob("/sys/bus/p[c]i/devices/0000:40:00.*", 0, nullptr, &found), 0);
  EXPECT_EQ(found.gl_pathc, 2u);
  EXPECT_EQ(std::string{found.gl_pathv[0]}, kDevice);
  globfree(&found);
  EXPECT_EQ(glob("/sys/bus/pci/devices/*/nothing", 0, nullptr, &found), GLOB_NOMATCH);
}
TEST(Directories, WhereTheProgramIsHasTheNameThatItGave) {
  const std::filesystem::path before = std::filesystem::current_path();
  ASSERT_EQ(chdir("/sys/bus/pci/devices"), 0);
  char name[64], small[8];
  EXPECT_STREQ(getcwd(name, sizeof name), "/sys/bus/pci/devices");
  EXPECT_EQ(getcwd(small, sizeof small), nullptr);
  EXPECT_EQ(errno, ERANGE);
  char* allocated = getcwd(nullptr, 0);
  EXPECT_STREQ(allocated, "/sys/bus/pci/devices");
  free(allocated);
  EXPECT_EQ(first_line("../../pci/devices/" + std::string{kBdf} + "/vendor"), "0x1234");
  EXPECT_EQ(access("../../../kernel/iommu_groups", F_OK), 0);
  ASSERT_EQ(chdir(before.c_str()), 0);
}
TEST(Dev, NodesAreCharacterDevices) {
  struct stat by_path {
  }, by_fd{};
  ASSERT_EQ(stat("/dev/vfio/vfio", &by_path), 0);
  EXPECT_TRUE(S_ISCHR(by_path.st_mode));
  EXPECT_EQ(by_path.st_rdev, makedev(10, 196));
  const Fd container{open("/dev/vfio/vfio", O_RDWR)};
  ASSERT_EQ(fstat(container, &by_fd), 0);
  EXPECT_TRUE(S_ISCHR(by_fd.st_mode));
  EXPECT_EQ(by_fd.st_rdev, by_path.st_rdev);
  by_fd = {};
  ASSERT_EQ(fstatat(container, "", &by_fd, AT_EMPTY_PATH), 0);
  EXPECT_EQ(by_fd.st_rdev, by_path.st_rdev);
  struct statx extended {};
  ASSERT_EQ(statx(container, "", AT_EMPTY_PATH, STATX_BASIC_STATS, &extended), 0);
  EXPECT_TRUE(S_ISCHR(extended.stx_mode));
  EXPECT_EQ(makedev(extended.stx_rdev_major, extended.stx_rdev_minor), by_path.st_rdev);
  EXPECT_EQ(list("/dev/vfio").count(group_of(kBdf)), 1u);
  EXPECT_EQ(errno_of(open("/dev/vfio/9999", O_RDWR)), ENOENT);
}
TEST(Dev, OtherFilesAreUntouched) {
  const Fd null{open("/dev/null", O_RDWR)};
  EXPECT_EQ(write(null, "x", 1), 1);
  EXPECT_EQ(errno_of(ioctl(null, VFIO_GET_API_VERSION)), ENOTTY);
  EXPECT_EQ(errno_of(open("/no/such/file", O_RDONLY)), ENOENT);
}

}  // namespace
}  // namespace vmux::tests
