//! `pangeo-bot`: a Discord bot that lets the team of a Virtual Organisation deploy and run DaskHub
//! on the EGI Federation from its channel.

pub mod app;
pub mod approvals;
pub mod commands;
pub mod config;
pub mod domain;
pub mod services;
pub mod store;
pub mod telemetry;
pub mod web;
