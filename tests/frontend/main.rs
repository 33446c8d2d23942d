//! The bot's clients for front ends, helm, Kubernetes and the hub against pretend front ends:
//! real `ssh`, real `sshd`, real shell scripts; helm and the API are the sandbox's.
#![cfg(test)]

mod cluster;
mod ec3;
mod helm;
mod ssh;
mod watches;
mod world;
