//! The thermometers of the host: thermal zones, and the inputs of hardware monitors in both their layouts.
//!
//! Knows nothing of what is too hot.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::sysroot::{Gather, Sourced};

/// Degrees outside of which a sensor is taken to be off: kernel drivers report such for unused inputs.
const PLAUSIBLE: std::ops::Range<f64> = -40.0..150.0;

/// A thermometer that answers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Sensor {
    /// What it measures, as the kernel calls it.
    pub name: String,
    /// Degrees Celsius.
    pub celsius: Sourced<f64>,
}

/// The files of all sensors, each with the file that holds its name.
pub(super) fn files(gather: &Gather<'_>) -> Vec<(String, String)> {
    let zones = gather.list("/sys/class/thermal").into_iter();
    let mut files: Vec<(String, String)> = zones
        .filter(|name| name.starts_with("thermal_zone"))
        .map(|name| format!("/sys/class/thermal/{name}"))
        .map(|dir| (format!("{dir}/temp"), format!("{dir}/type")))
        .collect();
    for monitor in gather.list("/sys/class/hwmon") {
        for below in ["", "/device"] {
            let dir = format!("/sys/class/hwmon/{monitor}{below}");
            let inputs = gather.list(&dir).into_iter();
            let inputs = inputs.filter(|name| name.starts_with("temp") && name.ends_with("_input"));
            files.extend(inputs.map(|name| (format!("{dir}/{name}"), format!("{dir}/name"))));
        }
    }
    files
}

/// What the sensor in the host's file `path` tells; nothing when it does not answer or is off.
pub(super) fn celsius(gather: &Gather<'_>, path: &str) -> Option<Sourced<f64>> {
    // A sensor that does not answer is no news: many never do.
    let millidegrees: f64 = gather.root.read(path).ok()?.trim().parse().ok()?;
    let degrees = millidegrees / 1000.0;
    PLAUSIBLE.contains(&degrees).then(|| Sourced::new(degrees, path))
}

/// All sensors that answer.
pub(super) fn read(gather: &Gather<'_>) -> Vec<Sensor> {
    let sensor = |(path, name): (String, String)| {
        let celsius = celsius(gather, &path)?;
        let label =
            path.strip_suffix("_input").and_then(|stem| gather.text(&format!("{stem}_label")));
        let mut name = gather.text(&name).map_or_else(|| "sensor".to_owned(), |name| name.value);
        if let Some(label) = label {
            name = format!("{name} {}", label.value);
        }
        Some(Sensor { name, celsius })
    };
    files(gather).into_iter().filter_map(sensor).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::tree::Tree;

    #[test]
    fn zones_and_monitors_are_told_by_name_and_those_that_are_off_are_not() {
        let tree = Tree::new()
            .file("/sys/class/thermal/thermal_zone0/temp", "45000\n")
            .file("/sys/class/thermal/thermal_zone0/type", "x86_pkg_temp\n")
            .file("/sys/class/hwmon/hwmon0/name", "coretemp\n")
            .file("/sys/class/hwmon/hwmon0/temp1_input", "61500\n")
            .file("/sys/class/hwmon/hwmon0/temp1_label", "Core 0\n")
            .file("/sys/class/hwmon/hwmon0/temp2_input", "-274000\n");
        let root = tree.sysroot();
        let found: Vec<_> = read(&Gather::new(&root))
            .into_iter()
            .map(|sensor| (sensor.name, sensor.celsius.value.to_string()))
            .collect();
        let expected = [("x86_pkg_temp", "45"), ("coretemp Core 0", "61.5")];
        assert_eq!(found, expected.map(|(name, degrees)| (name.to_owned(), degrees.to_owned())));
    }
}
