//! Registering and deregistering: the tool map, the names and the slots change together, under the
//! registration lock.

use crate::boxed_tool::BoxedTool;
use crate::reclaim::{IdsExhausted, Reclaim};
use crate::registry_state::RegistryState;
use crate::slab::OutOfMemory;
use crate::sync::lock;
use crate::text::{MAX_NAME_BYTES, escaped};
use crate::tool::ToolSpec;
use crate::tool_map::Departed;
use crate::tool_slot::ToolSlot;
use crate::tool_state::{ToolHandle, ToolState};
use std::collections::HashSet;
use std::sync::Arc;
use std::time::SystemTime;

mod error;

pub use error::{NotRegistered, RegisterError};

/// Registers all of these tools, each with the host's tool if it can be called by name, or none.
///
/// # Errors
///
/// [`RegisterError`] for the first tool that cannot be registered.
pub(crate) fn register_all(
    registry: &RegistryState,
    tools: Vec<(ToolSpec, Option<BoxedTool>)>,
) -> Result<Vec<ToolHandle>, RegisterError> {
    for (spec, _) in &tools {
        spec.check()?;
    }
    let now = registry.now().wall();
    // On an error, this guard is dropped before `tools`, which own tools of the host.
    let mut reclaim = lock(&registry.registration);
    check_names(&tools, registry)?;
    let slots = take_slots(&tools, now, registry, &mut reclaim)?;
    let mut handles = Vec::with_capacity(tools.len());
    for ((_, callable), slot) in tools.into_iter().zip(slots) {
        handles.push(register_in_slot(registry, &mut reclaim, slot, callable));
    }
    // After all are registered: a slot that was reserved for one of them must not depart.
    reclaim.depart_some(handles.len(), &registry.tools, &mut lock(&registry.names));
    drop(reclaim);
    Ok(handles)
}

/// Frees a name. Its tool is retired.
///
/// # Errors
///
/// [`NotRegistered`] if no tool has this name.
pub(crate) fn deregister(registry: &RegistryState, name: &str) -> Result<(), NotRegistered> {
    let mut reclaim = lock(&registry.registration);
    let tool = registry.tools.retire(name).ok_or_else(|| NotRegistered {
        name: escaped(name, MAX_NAME_BYTES),
    })?;
    reclaim.retire(Arc::clone(&tool.0.slot));
    drop(reclaim);
    // Not under the lock: this may be the last handle, and drop the host's tool.
    drop(tool);
    Ok(())
}

/// Checks that none of these names is registered, and that none is there twice.
///
/// # Errors
///
/// [`RegisterError::Duplicate`] for the first name that is.
fn check_names(
    tools: &[(ToolSpec, Option<BoxedTool>)],
    registry: &RegistryState,
) -> Result<(), RegisterError> {
    let mut names = HashSet::new();
    for (spec, _) in tools {
        let name = spec.name();
        if registry.tools.find(name).is_some() || !names.insert(name) {
            return Err(RegisterError::Duplicate { name: name.into() });
        }
    }
    Ok(())
}

/// The slot of a tool that is about to be registered.
enum NewSlot {
    /// The tool is retired, and continues in its slot.
    Retired(Arc<ToolSlot>),
    /// The tool is new, or has departed.
    Fresh {
        slot: Arc<ToolSlot>,
        was_departed: bool,
    },
}

/// Takes a slot for each of these tools.
///
/// # Errors
///
/// [`RegisterError`] if a tool cannot have one. No slot is taken then.
fn take_slots(
    tools: &[(ToolSpec, Option<BoxedTool>)],
    now: SystemTime,
    registry: &RegistryState,
    reclaim: &mut Reclaim,
) -> Result<Vec<NewSlot>, RegisterError> {
    let map = &registry.tools;
    // The names that are not visible. More of them may depart when room is made.
    let hidden = || {
        let names = tools.iter().map(|(spec, _)| spec.name());
        names.filter(|name| map.find_retired(name).is_none())
    };
    let limit = registry.tool_limit;
    if reclaim.room() < hidden().count() {
        reclaim.depart_all(map, &mut lock(&registry.names));
    }
    if let Some(name) = hidden().nth(reclaim.room()) {
        let name = name.into();
        return Err(RegisterError::TooManyTools { name, limit });
    }
    let mut slots = Vec::with_capacity(tools.len());
    for (spec, _) in tools {
        let slot = match map.find_retired(spec.name()) {
            Some(slot) => Ok(NewSlot::Retired(slot)),
            None => {
                let departed = map.find_departed(spec.name());
                take_slot(spec.name(), departed.as_deref(), now, reclaim)
            }
        };
        match slot {
            Ok(slot) => slots.push(slot),
            Err(error) => {
                give_back(slots, reclaim);
                return Err(error);
            }
        }
    }
    Ok(slots)
}

/// Takes a slot for a name that is not visible.
fn take_slot(
    name: &str,
    departed: Option<&Departed>,
    now: SystemTime,
    reclaim: &mut Reclaim,
) -> Result<NewSlot, RegisterError> {
    let memory = reclaim
        .take_memory()
        .map_err(|OutOfMemory| RegisterError::OutOfMemory)?;
    let slot = match departed {
        Some(departed) => ToolSlot::continuing(
            departed.id,
            Arc::clone(&departed.name),
            departed.registered_at,
            memory,
            Some(Arc::clone(&departed.reading)),
            departed.errors.clone(),
        ),
        None => match reclaim.take_id() {
            Ok(id) => ToolSlot::new(id, name.into(), now, memory),
            Err(IdsExhausted) => {
                reclaim.put_back(memory);
                return Err(RegisterError::IdsExhausted);
            }
        },
    };
    Ok(NewSlot::Fresh {
        slot: Arc::new(slot),
        was_departed: departed.is_some(),
    })
}

/// Gives back the memory of slots in which no tool was registered.
fn give_back(slots: Vec<NewSlot>, reclaim: &mut Reclaim) {
    for new_slot in slots {
        if let NewSlot::Fresh { slot, .. } = new_slot
            && let Ok(slot) = Arc::try_unwrap(slot)
        {
            reclaim.put_back(slot.memory);
        }
    }
}

/// Registers a tool in the slot that was reserved for it.
fn register_in_slot(
    registry: &RegistryState,
    reclaim: &mut Reclaim,
    new_slot: NewSlot,
    callable: Option<BoxedTool>,
) -> ToolHandle {
    let (slot, departed) = match new_slot {
        NewSlot::Retired(slot) => (slot, None),
        NewSlot::Fresh { slot, was_departed } => (slot, Some(was_departed)),
    };
    let state = ToolState::new(slot, Arc::clone(&registry.env), callable);
    let handle = ToolHandle(Arc::new(state));
    lock(&registry.names).insert(&handle.0.slot);
    registry.tools.register(handle.clone());
    if let Some(was_departed) = departed {
        reclaim.count_registered(was_departed);
    }
    handle
}
