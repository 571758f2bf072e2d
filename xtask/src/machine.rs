//! What this machine can run.

use std::path::{Path, PathBuf};

use crate::shell::{program, succeeds};

/// A backend that a feature flag of the front door chooses.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Backend {
    /// The feature.
    pub(crate) feature: &'static str,
    /// What keeps it from running here, `None` if nothing does.
    missing: fn() -> Option<String>,
}

/// Backends with a way to run, cheapest to build first.
pub(crate) const BACKENDS: [Backend; 4] = [
    Backend {
        feature: "flex",
        missing: || None,
    },
    Backend {
        feature: "ndarray",
        missing: || None,
    },
    Backend {
        feature: "wgpu",
        missing: missing_graphics,
    },
    Backend {
        feature: "cuda",
        missing: missing_cuda,
    },
];

impl Backend {
    /// The backend of that feature.
    pub(crate) fn by_feature(feature: &str) -> Option<Self> {
        BACKENDS.into_iter().find(|it| it.feature == feature)
    }

    /// Why it cannot run here, `None` if it can.
    pub(crate) fn missing(&self) -> Option<String> {
        (self.missing)()
    }

    /// Why its speed tells nothing here, `None` if it does.
    pub(crate) fn not_worth_measuring(&self) -> Option<String> {
        let software = cfg!(target_os = "linux") && !has_graphics_device();
        (self.feature == "wgpu" && software).then(|| {
            "there is no GPU but the CPU; `cargo xtask bench wgpu` measures it all the same".into()
        })
    }
}

fn missing_graphics() -> Option<String> {
    // macOS has Metal and Windows has Direct3D; elsewhere WebGPU needs a Vulkan driver.
    if cfg!(any(target_os = "macos", target_os = "windows")) || !vulkan_drivers().is_empty() {
        return None;
    }
    Some(
        "no Vulkan driver; on Debian `apt-get install mesa-vulkan-drivers` has a software one"
            .into(),
    )
}

/// Driver manifests that the Vulkan loader would find.
fn vulkan_drivers() -> Vec<PathBuf> {
    if let Some(files) = std::env::var_os("VK_DRIVER_FILES") {
        return std::env::split_paths(&files)
            .filter(|it| it.exists())
            .collect();
    }
    [
        "/usr/share/vulkan/icd.d",
        "/etc/vulkan/icd.d",
        "/usr/local/share/vulkan/icd.d",
    ]
    .iter()
    .filter_map(|folder| Path::new(folder).read_dir().ok())
    .flat_map(|entries| entries.flatten().map(|entry| entry.path()))
    .filter(|path| path.extension().is_some_and(|it| it == "json"))
    .collect()
}

/// Whether Linux has a device of a GPU: of the kernel's graphics, of NVIDIA, or of Windows around it.
fn has_graphics_device() -> bool {
    let render =
        |entry: std::fs::DirEntry| entry.file_name().to_string_lossy().starts_with("render");
    let mut devices = Path::new("/dev/dri")
        .read_dir()
        .into_iter()
        .flatten()
        .flatten();
    devices.any(render)
        || ["/dev/nvidia0", "/dev/dxg"]
            .iter()
            .any(|it| Path::new(it).exists())
}

fn missing_cuda() -> Option<String> {
    let works = succeeds(program("nvidia-smi").arg("--list-gpus"));
    (!works).then(|| "`nvidia-smi` finds no NVIDIA GPU".into())
}
