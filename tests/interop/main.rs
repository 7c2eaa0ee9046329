//! The meeting room: Windlass and the real Kopia use the same repositories, and each must find what the other left.

mod blob_files;
mod buckets;
mod caches;
mod checkpoints;
mod clouds;
mod command_line;
mod defaults;
mod full_target;
mod interleaved;
mod killed;
mod maintenance;
mod matrix;
mod odd_disk;
mod open_files;
mod real_trees;
mod refusals;
mod repair;
mod rules;
mod shapes_of_files;
mod small_disk;
mod without_rights;
