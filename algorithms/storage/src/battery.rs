//! The battery, and what it does with a surplus or a deficit.

/// A battery with a charge.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Battery {
    /// Usable capacity in kWh.
    pub capacity: f64,
    /// The most energy in kWh that can pass its terminals in a step, either way.
    pub per_step: f64,
    /// Share of the energy that survives charging, and again discharging: the root of the round trip's.
    pub one_way: f64,
    /// Share of the charge that is lost by itself in a step.
    pub leak: f64,
    /// Energy stored, in kWh.
    pub charge: f64,
}

/// Where the energy of a step went, in kWh.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Flows {
    /// Drawn from the grid.
    pub import: f64,
    /// Fed into the grid.
    pub export: f64,
    /// Into the battery, at its terminals.
    pub charged: f64,
    /// Out of the battery, at its terminals.
    pub discharged: f64,
    /// Lost in the battery.
    pub lost: f64,
}

impl Battery {
    /// Lets the battery serve the house first: a surplus is stored and only then fed into the grid, a deficit is
    /// met from the battery and only then from the grid; nothing is drawn from the grid to be stored.
    pub fn dispatch(&mut self, pv: f64, load: f64) -> Flows {
        let leaked = self.charge * self.leak;
        self.charge -= leaked;
        let surplus = pv - load;
        if surplus >= 0.0 {
            let charged = surplus.min(self.per_step).min((self.capacity - self.charge) / self.one_way).max(0.0);
            self.charge += charged * self.one_way;
            let lost = leaked + charged * (1.0 - self.one_way);
            Flows { export: surplus - charged, charged, lost, ..Flows::default() }
        } else {
            let discharged = (-surplus).min(self.per_step).min(self.charge * self.one_way).max(0.0);
            let drawn = discharged / self.one_way;
            self.charge -= drawn;
            Flows { import: -surplus - discharged, discharged, lost: leaked + drawn - discharged, ..Flows::default() }
        }
    }
}

impl Flows {
    /// The energy in kWh that a step created out of nothing: what came in less what went out or was kept.
    pub fn residual(&self, pv: f64, load: f64, stored: f64) -> f64 {
        (pv + self.import) - (load + self.export + self.lost + stored)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn battery(charge: f64) -> Battery {
        Battery { capacity: 4.0, per_step: 2.0, one_way: 0.8, leak: 0.0, charge }
    }

    #[test]
    fn a_surplus_is_stored_up_to_the_power_and_the_rest_exported() {
        let mut battery = battery(0.0);
        let flows = battery.dispatch(5.0, 1.0);
        assert_eq!((flows.charged, flows.export, flows.import), (2.0, 2.0, 0.0));
        assert!((battery.charge - 1.6).abs() < 1e-12 && (flows.lost - 0.4).abs() < 1e-12);
    }

    #[test]
    fn a_full_battery_exports_and_an_empty_one_imports() {
        assert_eq!(battery(4.0).dispatch(3.0, 1.0).export, 2.0);
        assert_eq!(battery(0.0).dispatch(0.0, 1.5).import, 1.5);
    }

    #[test]
    fn a_deficit_is_met_from_what_is_stored_less_the_loss_on_the_way() {
        let mut battery = battery(1.0);
        let flows = battery.dispatch(0.0, 1.0);
        assert!((flows.discharged - 0.8).abs() < 1e-12 && (flows.import - 0.2).abs() < 1e-12);
        assert!(battery.charge.abs() < 1e-12 && (flows.lost - 0.2).abs() < 1e-12);
    }
}
