//! Values of parameters that the plan being made is for, and for no others (a custom plan).

use pgrx::pg_sys;
use std::cell::Cell;
use std::ffi::c_int;
use std::ptr;

unsafe extern "C-unwind" {
    fn datumCopy(value: pg_sys::Datum, by_value: bool, length: c_int) -> pg_sys::Datum;
}

thread_local! {
    static BOUND: Cell<pg_sys::ParamListInfo> = const { Cell::new(ptr::null_mut()) };
}

/// The parameters of the plan that is being made; dropped, those of the plan around it count again.
pub(in crate::pg) struct Bound {
    around: pg_sys::ParamListInfo,
}

/// Sets the parameters of the plan that is about to be made.
///
/// # Safety
/// `params` is null or a valid parameter list until the result is dropped.
pub(in crate::pg) unsafe fn bind(params: pg_sys::ParamListInfo) -> Bound {
    Bound { around: BOUND.replace(params) }
}

impl Drop for Bound {
    fn drop(&mut self) {
        BOUND.set(self.around);
    }
}

/// The constant that a parameter is, if the plan is for its value alone.
///
/// # Safety
/// `param` is valid.
pub(in crate::pg) unsafe fn constant(param: *mut pg_sys::Param) -> Option<*mut pg_sys::Const> {
    let list = BOUND.get();
    // SAFETY: by the promises of the callers, here and of `bind`; IDs run from 1 to numParams; a value that is passed by reference is copied.
    unsafe {
        let param = &*param;
        if list.is_null()
            || param.paramkind != pg_sys::ParamKind::PARAM_EXTERN
            || !(1..=(*list).numParams).contains(&param.paramid)
        {
            return None;
        }
        let mut workspace = pg_sys::ParamExternData::default();
        let value = match (*list).paramFetch {
            Some(fetch) => fetch(list, param.paramid, true, &mut workspace),
            None => (*list).params.as_mut_ptr().add(param.paramid as usize - 1),
        };
        let value = &*value;
        if value.ptype != param.paramtype || value.pflags & pg_sys::PARAM_FLAG_CONST as u16 == 0 {
            return None;
        }
        let (mut length, mut by_value) = (0, false);
        pg_sys::get_typlenbyval(param.paramtype, &mut length, &mut by_value);
        let datum = if value.isnull || by_value {
            value.value
        } else {
            datumCopy(value.value, by_value, i32::from(length))
        };
        Some(pg_sys::makeConst(
            param.paramtype,
            param.paramtypmod,
            param.paramcollid,
            i32::from(length),
            datum,
            value.isnull,
            by_value,
        ))
    }
}
