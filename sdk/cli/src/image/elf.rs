//! What an image must know of an ELF binary: what machine it is for, its loader, and the libraries it asks for.

use std::path::PathBuf;

use object::{
    Endianness, FileKind, StringTable, elf,
    read::elf::{Dyn, FileHeader, ProgramHeader},
};
use oci_spec::image::Arch;

type Header = elf::FileHeader64<Endianness>;

/// Why a file is not a binary that can go into an image.
#[derive(Debug, thiserror::Error)]
pub enum ElfError {
    #[error("it is not an ELF binary: build the plugin for Linux")]
    NotElf,
    #[error("it is a binary for 32 bits: build the plugin for a 64-bit Linux")]
    Bits32,
    #[error("it is a binary for another system than Linux (OS/ABI {0})")]
    OtherSystem(u8),
    #[error("it is a binary for a machine that images are not written for (ELF machine {0}): x86-64 and AArch64 are")]
    OtherMachine(u16),
    #[error("it is neither an executable nor a shared object (ELF type {0})")]
    NotLinked(u16),
    #[error("its list of libraries is damaged")]
    DamagedNames,
    #[error("it is a damaged ELF file")]
    Malformed(#[from] object::Error),
}

/// What is read of an ELF file.
#[derive(Debug)]
pub(super) struct Elf {
    pub(super) architecture: Arch,
    /// `PT_INTERP`: the loader. Absent: the binary is static.
    pub(super) interpreter: Option<PathBuf>,
    /// `DT_NEEDED`, in order.
    pub(super) needed: Vec<String>,
    /// `DT_RPATH`, as written.
    pub(super) rpath: Vec<String>,
    /// `DT_RUNPATH`, as written; where there is one, no `DT_RPATH` counts.
    pub(super) runpath: Option<Vec<String>>,
}

/// Reads an ELF file as the loader does: by its segments, since a binary may have lost its section table.
pub(super) fn parse(bytes: &[u8]) -> Result<Elf, ElfError> {
    match FileKind::parse(bytes) {
        Ok(FileKind::Elf64) => {}
        Ok(FileKind::Elf32) => return Err(ElfError::Bits32),
        _ => return Err(ElfError::NotElf),
    }
    let header = Header::parse(bytes)?;
    let endian = header.endian()?;
    let abi = header.e_ident().os_abi;
    if abi != elf::ELFOSABI_SYSV && abi != elf::ELFOSABI_LINUX {
        return Err(ElfError::OtherSystem(abi));
    }
    let kind = header.e_type(endian);
    if kind != elf::ET_EXEC && kind != elf::ET_DYN {
        return Err(ElfError::NotLinked(kind));
    }
    let architecture = match (header.e_machine(endian), endian) {
        (elf::EM_X86_64, Endianness::Little) => Arch::Amd64,
        (elf::EM_AARCH64, Endianness::Little) => Arch::ARM64,
        (other, _) => return Err(ElfError::OtherMachine(other)),
    };

    let segments = header.program_headers(endian, bytes)?;
    let mut interpreter = None;
    let mut dynamic = None;
    for segment in segments {
        if let Some(path) = segment.interpreter(endian, bytes)? {
            interpreter = Some(PathBuf::from(String::from_utf8_lossy(path).into_owned()));
        }
        if let Some(entries) = segment.dynamic(endian, bytes)? {
            dynamic = Some(entries);
        }
    }
    let mut elf = Elf {
        architecture,
        interpreter,
        needed: Vec::new(),
        rpath: Vec::new(),
        runpath: None,
    };
    if let Some(entries) = dynamic {
        read_dynamic(&mut elf, entries, &strings(entries, segments, endian, bytes), endian)?;
    }
    Ok(elf)
}

/// The string table of the dynamic entries, found by its address.
fn strings<'data>(
    entries: &[elf::Dyn64<Endianness>],
    segments: &[elf::ProgramHeader64<Endianness>],
    endian: Endianness,
    bytes: &'data [u8],
) -> StringTable<'data> {
    let value = |tag: i64| {
        entries
            .iter()
            .take_while(|entry| entry.d_tag(endian) != elf::DT_NULL)
            .find(|entry| entry.d_tag(endian) == tag)
            .map(|entry| entry.d_val(endian))
    };
    let (Some(address), Some(size)) = (value(elf::DT_STRTAB), value(elf::DT_STRSZ)) else {
        return StringTable::default();
    };
    segments
        .iter()
        .filter(|segment| segment.p_type(endian) == elf::PT_LOAD)
        .find_map(|segment| segment.data_range(endian, bytes, address, size).ok().flatten())
        .map_or_else(StringTable::default, |table| StringTable::new(table, 0, size))
}

fn read_dynamic(
    elf: &mut Elf,
    entries: &[elf::Dyn64<Endianness>],
    strings: &StringTable<'_>,
    endian: Endianness,
) -> Result<(), ElfError> {
    let list = |text: String| {
        text.split(':')
            .filter(|part| !part.is_empty())
            .map(str::to_owned)
            .collect()
    };
    for entry in entries {
        let tag = entry.d_tag(endian);
        if tag == elf::DT_NULL {
            break;
        }
        let text = || -> Result<String, ElfError> {
            let bytes = u32::try_from(entry.d_val(endian))
                .ok()
                .and_then(|offset| strings.get(offset).ok());
            bytes
                .map(|bytes| String::from_utf8_lossy(bytes).into_owned())
                .ok_or(ElfError::DamagedNames)
        };
        if tag == elf::DT_NEEDED {
            elf.needed.push(text()?);
        } else if tag == elf::DT_RPATH {
            elf.rpath = list(text()?);
        } else if tag == elf::DT_RUNPATH {
            elf.runpath = Some(list(text()?));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn own() -> Vec<u8> {
        std::fs::read(std::env::current_exe().unwrap()).unwrap()
    }

    fn spoilt(spoil: impl FnOnce(&mut Vec<u8>)) -> ElfError {
        let mut bytes = own();
        spoil(&mut bytes);
        parse(&bytes).unwrap_err()
    }

    #[test]
    fn the_test_itself_has_a_loader_and_asks_for_the_c_library() {
        let elf = parse(&own()).unwrap();
        assert!(elf.interpreter.unwrap().is_absolute());
        assert!(
            elf.needed.iter().any(|name| name.starts_with("libc.")),
            "{:?}",
            elf.needed
        );
    }

    #[test]
    fn a_file_is_refused_for_each_of_its_reasons() {
        assert!(matches!(parse(b"#!/bin/sh\n").unwrap_err(), ElfError::NotElf));
        assert!(matches!(parse(b"").unwrap_err(), ElfError::NotElf));
        assert!(matches!(spoilt(|bytes| bytes[4] = 1), ElfError::Bits32));
        assert!(matches!(spoilt(|bytes| bytes[7] = 9), ElfError::OtherSystem(9)));
        assert!(matches!(spoilt(|bytes| bytes[16] = 1), ElfError::NotLinked(1)));
        assert!(matches!(spoilt(|bytes| bytes[18] = 243), ElfError::OtherMachine(243)));
        assert!(matches!(spoilt(|bytes| bytes.truncate(100)), ElfError::Malformed(_)));
    }
}
