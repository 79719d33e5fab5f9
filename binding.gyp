# SPDX-License-Identifier: Apache-2.0
#
# Makes `npm install` build through CMake: npm sees this file and runs node-gyp, whose one action
# hands over to cmake-js. What is built, and from what, stands in CMakeLists.txt only.
{
  "targets": [
    {
      "target_name": "usher",
      "type": "none",
      "actions": [
        {
          "action_name": "cmake",
          "message": "Building with CMake",
          "inputs": [],
          "outputs": ["<(module_root_dir)/build/addon.node"],
          "action": [
            "node",
            "<!(node -p \"require.resolve('cmake-js/bin/cmake-js')\")",
            "build",
            "--directory=<(module_root_dir)",
            "--out=<(module_root_dir)/build/cmake",
            "--config=RelWithDebInfo",
            "--parallel=4"
          ]
        }
      ]
    }
  ]
}
