//! The shape room: the choices made once, when a repository is created.

/// How a repository is to be created. The default is what Kopia and Velero choose.
#[derive(Clone, Debug)]
pub struct Shape {
    /// Content hash, by Kopia's name.
    pub hash: &'static str,
    /// Encryption, by Kopia's name.
    pub encryption: &'static str,
    /// Splitter, by Kopia's name.
    pub splitter: &'static str,
    /// Format version: 1, 2 or 3.
    pub format_version: u8,
    /// Overhead of the error correction in percent; 0 is none.
    pub ecc_percent: u8,
    /// Key derivation of the format blob. Only Kopia is asked to write other than the default.
    pub key_derivation: &'static str,
    /// Compressor of file data, by policy; `none` by default.
    pub compression: &'static str,
}

impl Default for Shape {
    fn default() -> Self {
        Self {
            hash: "BLAKE2B-256-128",
            encryption: "AES256-GCM-HMAC-SHA256",
            splitter: "DYNAMIC-4M-BUZHASH",
            format_version: 3,
            ecc_percent: 0,
            key_derivation: SCRYPT,
            compression: "none",
        }
    }
}

const SCRYPT: &str = "scrypt-65536-8-1";

impl Shape {
    /// Whether Windlass can be asked to create it, not only to read it.
    pub fn can_be_created_by_windlass(&self) -> bool {
        self.format_version >= 2 && self.key_derivation == SCRYPT
    }

    /// The average chunk length of the splitter, in bytes.
    ///
    /// # Panics
    /// When the name is none of Kopia's.
    pub fn chunk_bytes_average(&self) -> usize {
        let Some(size) = self.splitter.split('-').nth(1) else {
            return 4 << 20;
        };
        let (number, unit) = size.split_at(size.len() - 1);
        let number: usize = number.parse().expect("splitter names carry a size");
        match unit {
            "K" => number << 10,
            "M" => number << 20,
            _ => panic!("{} is no splitter", self.splitter),
        }
    }

    pub(crate) fn kopia_arguments(&self) -> Vec<String> {
        let mut arguments = vec![
            format!("--block-hash={}", self.hash),
            format!("--encryption={}", self.encryption),
            format!("--object-splitter={}", self.splitter),
            format!("--format-version={}", self.format_version),
            format!("--format-block-key-derivation-algorithm={}", self.key_derivation),
        ];
        if self.ecc_percent > 0 {
            arguments.push("--ecc=REED-SOLOMON-CRC32".to_owned());
            arguments.push(format!("--ecc-overhead-percent={}", self.ecc_percent));
        }
        arguments
    }

    pub(crate) fn windlass_arguments(&self) -> Vec<String> {
        assert!(self.can_be_created_by_windlass(), "{self:?} is for Kopia to create");
        let mut arguments = vec![
            format!("--hash={}", self.hash),
            format!("--encryption={}", self.encryption),
            format!("--splitter={}", self.splitter),
            format!("--format-version={}", self.format_version),
        ];
        if self.ecc_percent > 0 {
            arguments.push(format!("--ecc={}", self.ecc_percent));
        }
        arguments
    }
}
