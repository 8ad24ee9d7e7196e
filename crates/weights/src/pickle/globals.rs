//! The names that a pickle may ask for.

use crate::stored::Dtype;

/// The elements of a storage or tensor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Element {
    Known(Dtype),
    /// Known to PyTorch, not here.
    Other(&'static OtherElement),
}

/// Its name and the bytes of one.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct OtherElement {
    pub name: &'static str,
    size: usize,
}

impl Element {
    pub fn size(self) -> usize {
        match self {
            Self::Known(dtype) => dtype.size(),
            Self::Other(other) => other.size,
        }
    }
}

/// What a name stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Global {
    OrderedDict,
    Rebuild(Rebuild),
    /// Called on anything, it would make a tensor of this kind.
    OtherTensor(&'static str),
    /// A type of storages.
    Storage(Element),
    /// A kind of elements as such, `torch.float32`.
    Element(Element),
    Size,
    /// `torch.Tensor` and `torch.nn.Parameter`, named but never called.
    TensorType,
    /// Makes something that is of no use here.
    Inert,
}

/// The functions of `torch/_utils.py` and `torch/_tensor.py` that make a tensor of a storage or of another tensor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rebuild {
    /// `(storage, offset, size, stride)`
    V1,
    /// and `(..., requires_grad, backward_hooks[, metadata])`
    V2,
    /// and `(..., requires_grad, backward_hooks, dtype[, metadata])`
    V3,
    /// `(tensor, requires_grad, backward_hooks[, state])`
    Parameter,
    /// `(one of the above, type, its arguments, state)`
    FromType,
}

impl Global {
    /// What is allowed. Everything else might run code.
    pub fn named(module: &str, name: &str) -> Option<Self> {
        Some(match (module, name) {
            ("collections", "OrderedDict") => Self::OrderedDict,
            ("torch._utils", "_rebuild_tensor") => Self::Rebuild(Rebuild::V1),
            ("torch._utils", "_rebuild_tensor_v2") => Self::Rebuild(Rebuild::V2),
            ("torch._utils", "_rebuild_tensor_v3") => Self::Rebuild(Rebuild::V3),
            ("torch._utils", "_rebuild_parameter" | "_rebuild_parameter_with_state") => {
                Self::Rebuild(Rebuild::Parameter)
            }
            ("torch._tensor", "_rebuild_from_type_v2") => Self::Rebuild(Rebuild::FromType),
            ("torch._utils", "_rebuild_sparse_tensor") => Self::OtherTensor("sparse"),
            ("torch._utils", "_rebuild_qtensor") => Self::OtherTensor("quantised"),
            ("torch._utils", "_rebuild_nested_tensor") => Self::OtherTensor("nested"),
            ("torch._utils", "_rebuild_meta_tensor_no_storage") => Self::OtherTensor("without values (meta)"),
            ("torch", "Size") => Self::Size,
            ("torch", "Tensor") | ("torch.nn.parameter", "Parameter") => Self::TensorType,
            ("torch" | "torch.storage", "UntypedStorage") => Self::Storage(Element::Known(Dtype::U8)),
            ("torch", _) if name.ends_with("Storage") => Self::Storage(element_of_storage(name)?),
            ("torch", _) => match element(name) {
                Some(element) => Self::Element(element),
                None => inert(module, name)?,
            },
            _ => inert(module, name)?,
        })
    }
}

/// Types and functions that only make a value, which is not used here.
fn inert(module: &str, name: &str) -> Option<Global> {
    const KNOWN: [(&str, &[&str]); 19] = [
        ("torch", &["device", "per_tensor_affine", "per_channel_affine"]),
        ("torch.serialization", &["_get_layout"]),
        ("collections", &["Counter", "defaultdict"]),
        // With a protocol before 3, names are those of Python 2.
        ("builtins", &["set", "frozenset", "bytearray", "complex", "list", "dict", "int", "float", "bool", "str"]),
        ("__builtin__", &["set", "frozenset", "bytearray", "complex", "list", "dict", "int", "float", "bool", "str"]),
        ("_codecs", &["encode"]),
        ("numpy", &["dtype", "ndarray"]),
        ("numpy.core.multiarray", &["scalar", "_reconstruct"]),
        ("numpy._core.multiarray", &["scalar", "_reconstruct"]),
        ("numpy.core.numeric", &["_frombuffer"]),
        ("numpy._core.numeric", &["_frombuffer"]),
        ("datetime", &["datetime", "date", "timedelta"]),
        // The arguments of a training script, and those of a module by Lightning.
        ("argparse", &["Namespace"]),
        ("pathlib", &["Path", "PosixPath", "WindowsPath", "PurePosixPath"]),
        ("pathlib._local", &["Path", "PosixPath", "WindowsPath", "PurePosixPath"]),
        ("pytorch_lightning.utilities.parsing", &["AttributeDict"]),
        ("lightning.pytorch.utilities.parsing", &["AttributeDict"]),
        ("lightning_fabric.utilities.data", &["AttributeDict"]),
        ("lightning.fabric.utilities.data", &["AttributeDict"]),
    ];
    KNOWN.iter().any(|(known, names)| *known == module && names.contains(&name)).then_some(Global::Inert)
}

fn element_of_storage(name: &str) -> Option<Element> {
    let name = match name.strip_suffix("Storage")? {
        "Double" => "float64",
        "Float" => "float32",
        "Half" => "float16",
        "BFloat16" => "bfloat16",
        "Long" => "int64",
        "Int" => "int32",
        "Short" => "int16",
        "Char" => "int8",
        "Byte" => "uint8",
        "Bool" => "bool",
        "ComplexFloat" => "complex64",
        "ComplexDouble" => "complex128",
        "QInt8" => "qint8",
        "QUInt8" => "quint8",
        "QInt32" => "qint32",
        _ => return None,
    };
    element(name)
}

/// PyTorch names some kinds of elements twice; a pickle has the first.
fn element(name: &str) -> Option<Element> {
    use Dtype::{BF16, Bool, F16, F32, F64, I8, I16, I32, I64, U8};
    const KNOWN: [(&str, Dtype); 10] = [
        ("float64", F64),
        ("float32", F32),
        ("float16", F16),
        ("bfloat16", BF16),
        ("int64", I64),
        ("int32", I32),
        ("int16", I16),
        ("int8", I8),
        ("uint8", U8),
        ("bool", Bool),
    ];
    static OTHERS: [OtherElement; 15] = [
        OtherElement { name: "uint16", size: 2 },
        OtherElement { name: "uint32", size: 4 },
        OtherElement { name: "uint64", size: 8 },
        OtherElement { name: "complex32", size: 4 },
        OtherElement { name: "complex64", size: 8 },
        OtherElement { name: "complex128", size: 16 },
        OtherElement { name: "qint8", size: 1 },
        OtherElement { name: "quint8", size: 1 },
        OtherElement { name: "qint32", size: 4 },
        OtherElement { name: "float8_e4m3fn", size: 1 },
        OtherElement { name: "float8_e4m3fnuz", size: 1 },
        OtherElement { name: "float8_e5m2", size: 1 },
        OtherElement { name: "float8_e5m2fnuz", size: 1 },
        OtherElement { name: "float8_e8m0fnu", size: 1 },
        OtherElement { name: "float4_e2m1fn_x2", size: 1 },
    ];
    let known = KNOWN.iter().find(|(known, _)| *known == name).map(|(_, dtype)| Element::Known(*dtype));
    known.or_else(|| OTHERS.iter().find(|other| other.name == name).map(Element::Other))
}
