#!/bin/sh
# Writes the broker's users from the secrets, then becomes the broker.
set -eu
users=/mosquitto/data/users
rm -f "$users"
umask 077
mosquitto_passwd -b -c "$users" ohmstead "$(cat /run/secrets/mqtt_password)"
mosquitto_passwd -b "$users" node "$(cat /run/secrets/node_password)"
chown -R mosquitto:mosquitto /mosquitto/data
exec mosquitto -c /mosquitto/config/mosquitto.conf
